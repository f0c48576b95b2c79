"""Values to bytes on the wire, and nothing else: no socket, no clock, no state."""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_DEFLATE_FROM_BYTES: Final = 512
_RSV1: Final = 0x40
_LINE_SEPARATORS: Final = tuple((sign.encode(), b"\\u%04x" % ord(sign)) for sign in "\x85\u2028\u2029")


class WireEncoding(enum.Enum):
    """How one connection wants its bytes."""

    WEBSOCKET = "websocket"
    DEFLATED = "websocket with permessage-deflate"
    CHUNKED = "event stream, chunked (HTTP/1.1)"
    PLAIN = "event stream until the end of the connection (HTTP/1.0)"


@dataclass(frozen=True, slots=True)
class EncodedEntry:
    """Something that was put into a log, made ready once for all its readers.

    Attributes:
        key: what readers choose by: the subject of an event; None in a room.
        event: what an event stream calls it.
        position: its id.
        data: JSON text, without line breaks.
        frame: JSON text of the WebSocket frame that carries it.
    """

    seq: int
    key: object
    event: str
    position: str
    data: bytes
    frame: bytes


def render(entries: Iterable[EncodedEntry], encoding: WireEncoding) -> bytes:
    """The bytes of these entries for one connection, as one piece."""
    if encoding is WireEncoding.WEBSOCKET:
        return b"".join(text_frame(entry.frame) for entry in entries)
    if encoding is WireEncoding.DEFLATED:
        return b"".join(deflated_frame(entry.frame) for entry in entries)
    stream = b"".join(sse(entry.event, entry.data, entry.position) for entry in entries)
    return chunk(stream) if encoding is WireEncoding.CHUNKED else stream


def text_frame(payload: bytes) -> bytes:
    """One unfragmented text frame from the server (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def deflated_frame(payload: bytes) -> bytes:
    """The same, compressed where that is worth it (RFC 7692, 7.2.1).

    Each message by itself, so that one compression does for all readers; they may keep their window all the same.
    """
    if len(payload) < _DEFLATE_FROM_BYTES:
        return text_frame(payload)
    compressor = zlib.compressobj(level=1, wbits=-15)
    deflated = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = text_frame(deflated.removesuffix(b"\x00\x00\xff\xff"))
    return bytes((frame[0] | _RSV1,)) + frame[1:]


def close_frame(code: int, reason: str) -> bytes:
    """A close frame from the server (RFC 6455, 5.5.1); the reason has 123 bytes at most."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload


def sse(event: str, data: bytes, position: str | None = None) -> bytes:
    """One event of an event stream; `event` and `position` are ours and hold no line break, nor does JSON."""
    head = f"event: {event}\n" if position is None else f"id: {position}\nevent: {event}\n"
    return b"%bdata: %b\n\n" % (head.encode(), escape_line_separators(data))


def sse_ping(position: str) -> bytes:
    """Keeps proxies awake and moves the reader's `Last-Event-ID`.

    With an event name and data: EventSource dispatches it to no listener that did not ask for it, while httpx-sse and
    fetch-event-source pass an event without data to their caller as an empty message.
    """
    return sse("ping", compact({"position": position}), position)


def escape_line_separators(data: bytes) -> bytes:
    """JSON text in UTF-8 with U+0085, U+2028 and U+2029 written as escapes, which mean the same.

    Python's `str.splitlines`, with which clients cut streams of text into lines, ends a line at each of them.
    """
    if data.isascii():
        return data
    for raw, escape in _LINE_SEPARATORS:
        data = data.replace(raw, escape)
    return data


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def moment(when: datetime) -> str:
    """A moment in UTC as RFC 3339, always with microseconds."""
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def compact(value: Any) -> bytes:
    """JSON without spaces, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
