"""The least that asyncio on uvloop can do for a room: what one says goes to all, in one prebuilt piece. Argument: port.

No JSON, no names, no limits, no bound on what a slow peer may cost. `/publish` speaks over a WebSocket; `/listen` listens
over a WebSocket, `/feed` over server-sent events. Frames of 64 KiB and more, fragments and control frames are left out:
the load sends none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import Final, cast

import uvloop

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY: Final = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^ \t\r\n]+)", re.IGNORECASE)
_FEED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_BACKLOG: Final = 2048

sockets: set[asyncio.WriteTransport] = set()
feeds: set[asyncio.WriteTransport] = set()


class Peer(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = bytearray()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._answered:
            self._answer()
        while self._answered and (payload := self._next_payload()) is not None:
            deliver(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        sockets.discard(self._transport)
        feeds.discard(self._transport)

    def _answer(self) -> None:
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[: head_end + 2])
        del self._received[: head_end + 4]
        self._answered = True
        if head.startswith(b"GET /feed "):
            self._transport.write(_FEED)
            feeds.add(self._transport)
        elif key := _KEY.search(head):
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            if head.startswith(b"GET /listen "):
                sockets.add(self._transport)
        else:
            self._transport.abort()

    def _next_payload(self) -> bytes | None:
        """The payload of the next whole frame of the publisher; None if there is none yet."""
        received = self._received
        if len(received) < 2:
            return None
        size, start = received[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(received[2:4]), 4
        end = start + 4 + size
        if len(received) < end:
            return None
        mask, payload = received[start : start + 4], received[start + 4 : end]
        del received[:end]
        key = (mask * (size // 4 + 1))[:size]
        return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def deliver(payload: bytes) -> None:
    """Write one message to everybody."""
    if sockets:
        size = len(payload)
        frame = (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2)) + payload
        for transport in sockets:
            transport.write(frame)
    if feeds:
        event = b"data: " + payload + b"\n\n"
        chunk = b"%x\r\n%b\r\n" % (len(event), event)
        for transport in feeds:
            transport.write(chunk)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Peer, "127.0.0.1", int(sys.argv[1]), backlog=_BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
