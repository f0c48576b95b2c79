"""WebSocket frames as bytes (RFC 6455, 5.2), right and wrong ones."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from tests.support.peer import RawPeer

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_MASK: Final = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """One frame of a client."""
    data = payload.encode() if isinstance(payload, str) else payload
    if mask:
        key = _MASK * (len(data) // 4 + 1)
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(key[: len(data)], "big")).to_bytes(len(data), "big")
        data = _MASK + masked
        return head(opcode, len(masked), fin=fin, rsv=rsv) + data
    return head(opcode, len(data), fin=fin, rsv=rsv, mask=False) + data


def head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """The beginning of a frame that announces so many bytes."""
    first, bit = fin << 7 | rsv << 4 | opcode, mask << 7
    if length < 126:
        return struct.pack("!BB", first, bit | length)
    if length < 1 << 16:
        return struct.pack("!BBH", first, bit | 126, length)
    return struct.pack("!BBQ", first, bit | 127, length)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of the server, which never masks and never fragments."""

    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def code(self) -> int:
        """Of a close frame; 1005 where it has none."""
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


async def receive(peer: RawPeer, timeout_s: float = 5.0) -> Received:
    """The next frame of the server."""
    async with asyncio.timeout(timeout_s):
        first, second = await peer.reader.readexactly(2)
        assert first & 0x80, "in fragments"
        assert not second & 0x80, "masked"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", await peer.reader.readexactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", await peer.reader.readexactly(8))[0]
        return Received(first & 0x0F, await peer.reader.readexactly(length))
