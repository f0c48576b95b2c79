"""Responses that their clients do not read are given up in time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest
from aiohttp.web_protocol import RequestHandler

from service.unread import UnreadResponses
from tests.support.server import Server, serve
from tests.support.wait import until

PATH = "/openapi.json"


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", "")).encode()


@contextmanager
def silent_client(server: Server, data: bytes) -> Iterator[socket.socket]:
    """A client that sends this and reads nothing; its kernel takes little for it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(data)
        client.setblocking(False)
        yield client


def is_reset(client: socket.socket) -> bool:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@asynccontextmanager
async def impatient() -> AsyncIterator[Server]:
    async with serve(send_buffer=8_192, stall_s=0.2, keepalive_s=0.1, ping_s=0.1) as server:
        yield server


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(PATH), id="large"),
        pytest.param(request(PATH, "Connection: close"), id="the last of its connection"),
        pytest.param(request("/health/live") * 300, id="many small"),
    ],
)
async def test_response_that_is_not_read_is_given_up(data: bytes) -> None:
    """A client that takes nothing for `stall_s` is reset, whether the connection is kept alive, closing, or full."""
    async with impatient() as server:
        with silent_client(server, data) as client:
            began = time.monotonic()
            await until(lambda: is_reset(client))
            assert time.monotonic() - began >= 0.2


async def test_slow_client_is_given_its_time() -> None:
    """A client that takes a little now and then gets the whole of the response, however long that lasts."""
    async with impatient() as server:
        with silent_client(server, request(PATH, "Connection: close")) as client:
            body, began = b"", time.monotonic()
            while data := await asyncio.get_running_loop().sock_recv(client, 16_384):
                body += data
                if time.monotonic() - began < 0.6:
                    await asyncio.sleep(0.05)
        head, _, rest = body.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(rest)}".encode() in head


class Transport:
    """With so much in its buffer."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def get_extra_info(self, name: str) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Connection:
    def __init__(self, size: int) -> None:
        self.transport: Any = Transport(size)


def test_only_who_takes_nothing_is_late() -> None:
    """More in the buffer is no progress, less is; a stream is left to those who look after streams."""
    idle, stuck, growing, taking, stream, closing = (Connection(size) for size in (0, 5, 5, 50, 5, 5))
    everyone = (idle, stuck, growing, taking, stream, closing)
    transports = [one.transport for one in everyone]
    unread = UnreadResponses(30, lambda: {stream.transport})
    for now in range(31):
        unread.look(cast(list[RequestHandler], everyone), float(now))
        growing.transport.size += 1
        taking.transport.size -= 1
        closing.transport = None

    assert [transport.aborted for transport in transports] == [False, True, True, False, False, True]
