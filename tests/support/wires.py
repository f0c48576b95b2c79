"""The feed as bytes over a bare socket: over SSE (chunked HTTP/1.1) and over `/v1/ws`.

Lean, because thousands of them are read beside each other, and with what a client of aiohttp's does not have: a small
receive buffer, a stall, a reset of the connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from tests.support import frames

if TYPE_CHECKING:
    from tests.support.readers import Reader

_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="  # that of RFC 6455, 1.3


class Wire(asyncio.Protocol):
    """One connection of a reader, which it tells what comes."""

    def __init__(self, reader: Reader, after: str | None) -> None:
        self._reader = reader
        self._after = after
        self._buffer = bytearray()
        self._head_read = False
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "not connected"
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        lines = [*self._request(), "Host: 127.0.0.1", f"Authorization: {self._reader.by.headers['Authorization']}"]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._head_read:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            status, is_whole = int(self._buffer[9:12]), b"Content-Length:" in self._buffer[:end]
            del self._buffer[: end + 4]
            self._head_read = True
            self._answered(status)
            if is_whole:
                self._reader.on_close_code(self, 0)  # a stream that cannot be served now
                return
        self._parse()

    def connection_lost(self, error: Exception | None) -> None:
        self._reader.on_lost(self, error)

    def goodbye(self) -> None:
        """Leave with manners."""
        self.transport.close()

    def vanish(self) -> None:
        """Leave without a word: the other side gets a reset."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _request(self) -> list[str]:
        raise NotImplementedError

    def _answered(self, status: int) -> None:
        raise NotImplementedError

    def _parse(self) -> None:
        raise NotImplementedError


class SseWire(Wire):
    """`GET /v1/feed`, or the feed of a room."""

    def __init__(self, reader: Reader, after: str | None) -> None:
        super().__init__(reader, after)
        self._text = b""

    def _request(self) -> list[str]:
        place = [] if self._after is None else [f"Last-Event-ID: {self._after}"]
        return [f"GET {self._reader.path} HTTP/1.1", "Accept: text/event-stream", *place]

    def _answered(self, status: int) -> None:
        assert status == 200, f"a feed answered {status}"

    def _parse(self) -> None:
        start = 0
        while (end := self._buffer.find(b"\r\n", start)) >= 0:  # RFC 9112, 7.1
            size = int(self._buffer[start:end], 16)
            after = end + 2 + size
            if len(self._buffer) < after + 2:
                break
            assert self._buffer[after : after + 2] == b"\r\n", "a chunk is longer than it says"
            if size == 0:
                self._reader.on_close_code(self, 0)
            self._text += self._buffer[end + 2 : after]
            start = after + 2
        del self._buffer[:start]
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            self._block(block)

    def _block(self, block: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        event, place = fields.get(b"event"), fields.get(b"id", b"").decode()
        match event:
            case b"ping":
                self._reader.on_place(self, place)
            case b"hello":
                self._reader.on_open(self, place)
            case b"reset":
                self._reader.on_reset(self, json.loads(fields[b"data"]))
            case b"closing":
                self._reader.on_closing(self, json.loads(fields[b"data"]))
            case _:
                self._reader.on_event(self, place)


class WebSocketWire(Wire):
    """`subscribe` on `/v1/ws`, or `join` where it is for a room."""

    def _request(self) -> list[str]:
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {_KEY}")
        return ["GET /v1/ws HTTP/1.1", *upgrade, "Sec-WebSocket-Version: 13"]

    def _answered(self, status: int) -> None:
        assert status == 101, f"a WebSocket answered {status}"
        room, place = self._reader.room, {} if self._after is None else {"after": self._after}
        asked = {"type": "subscribe", **place} if room is None else {"type": "join", "room": room, **place}
        self.send(asked)

    def send(self, message: dict[str, Any]) -> None:
        self.transport.write(frames.frame(frames.TEXT, json.dumps(message)))

    def goodbye(self) -> None:
        self.transport.write(frames.frame(frames.CLOSE, struct.pack("!H", 1000)))
        super().goodbye()

    def _parse(self) -> None:
        buffer, start = self._buffer, 0
        while len(buffer) >= start + 2:
            opcode, size, body = buffer[start] & 0x0F, buffer[start + 1], start + 2  # the server never masks
            if size == 126:
                size, body = int.from_bytes(buffer[body : body + 2], "big"), body + 2
            elif size == 127:
                size, body = int.from_bytes(buffer[body : body + 8], "big"), body + 8
            if len(buffer) < body + size:
                break
            payload = bytes(buffer[body : body + size])
            start = body + size
            self._frame(opcode, payload)
        del buffer[:start]

    def _frame(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case frames.CLOSE:
                self._reader.on_close_code(self, int.from_bytes(payload[:2], "big"))
                self.transport.write(frames.frame(frames.CLOSE, payload[:2]))
            case frames.PING:
                self.transport.write(frames.frame(frames.PONG, payload))
            case _:
                self._message(json.loads(payload))

    def _message(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "event":
                self._reader.on_event(self, message["event"]["id"])
            case "message":
                self._reader.on_event(self, message["id"])
            case "heartbeat":
                self._reader.on_place(self, message["position"])
            case "subscribed":
                self._reader.on_open(self, message["position"])
            case "joined":
                self._reader.on_open(self, message["position"])
            case "reset":
                self._reader.on_reset(self, message)
            case "closing":
                self._reader.on_closing(self, message)
            case "error":
                assert message["code"] == "service_unavailable", message
                self.transport.close()  # the reader tries again
            case _:
                pass
