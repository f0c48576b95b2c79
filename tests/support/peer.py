"""A peer on a bare socket: says exactly these bytes, half of them, or stops reading."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawPeer:
    """A connection without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self.writer.drain()

    async def announce(self, path: str, length: int) -> None:
        """Send the head of a request whose body is to follow, and return when a handler has it: that asks for the body."""
        await self.send(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await self.answer(head=True)).status == 100

    async def answer(self, timeout_s: float = 5.0, *, head: bool = False) -> Answer:
        """Read one answer, framed by its Content-Length, by chunks, or by the end of the connection."""
        async with asyncio.timeout(timeout_s):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = text.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
            status = int(lines[0].split()[1])
            if head or status < 200 or status in (204, 304):
                body = b""
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await self.reader.readline(), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readline()
            else:
                body = await self.reader.read()
        return Answer(status, headers, body)

    async def is_closed(self, timeout_s: float = 5.0) -> bool:
        """Whether the other side ends the connection within the time; what comes before that is thrown away."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def tcp_info(self, size: int) -> bytes:
        """What Linux counts of the connection: the beginning of `struct tcp_info`."""
        info: bytes = self.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        return info

    async def upgrade(self, path: str, *headers: str) -> Answer:
        """Ask for a WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        await self.send("\r\n".join(lines) + "\r\n\r\n")
        return await self.answer()


@asynccontextmanager
async def raw_peer(
    port: int, *, receive_buffer: int | None = None, send_buffer: int | None = None, **kwargs: Any
) -> AsyncIterator[RawPeer]:
    """Connect to loopback.

    A small `receive_buffer` makes a peer that does not read fill up soon, a small `send_buffer` one that is not read from.
    Left to the kernel both may take 4 MB or 32 MB, by machine: a test that waits for a full buffer sets them, and
    `send_buffer` of `serve` as well.
    """
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, **kwargs)
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.transport.abort()
