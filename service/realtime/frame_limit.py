"""How many frames a WebSocket may send: messages, and what aiohttp handles without showing it to a handler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

_CLOSE: Final = 0x8
_CONTROL_BIT: Final = 0x8
_FIN_BIT: Final = 0x80
_MASK_BIT: Final = 0x80
# A client may send a message of 64 KiB in pieces of 1 KiB.
_FRAGMENT_COST: Final = 1 / 16
# Each costs a microsecond: reading on to the close frame of a client that goes on sending would take more time than the
# flood itself.
_MOST_DISCARDED_FRAMES: Final = 256


class FrameLimit:
    """A token bucket of one second's worth of frames: bursts are accepted, a higher rate is not.

    Args:
        per_s: frames per second; 0 for no bound.

    Attributes:
        exceeded: whether a frame was refused.
    """

    __slots__ = ("_allowance", "_counted_at", "exceeded", "per_s")

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s
        self.exceeded = False
        self._allowance = float(per_s)
        self._counted_at = time.monotonic()

    def take(self, cost: float = 1.0) -> bool:
        """Count a frame; False if it is one too many."""
        if not self.per_s:
            return True
        now = time.monotonic()
        refilled = self._allowance + (now - self._counted_at) * self.per_s
        self._allowance = min(refilled, float(self.per_s)) - cost
        self._counted_at = now
        if self._allowance < 0:
            self.exceeded = True
        return self._allowance >= 0


class Parser(Protocol):
    """The frame parser: aiohttp's reader."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None: ...


class FrameCounter:
    """Stands before a parser of frames and counts control frames and fragments against a limit.

    Ping, pong and an empty fragment count as one message each, any other fragment as a sixteenth. Messages are counted by
    the handler, when it takes them. Above the limit all frames but the close frame are discarded, unparsed.

    Args:
        on_flood: called once, when the limit is exceeded.
        on_persistence: called, also repeatedly, when the client then sends 256 more frames and no close frame among them;
            nothing is looked at any more. It has to stop the reading.
    """

    __slots__ = (
        "_discarded",
        "_flooded",
        "_held",
        "_limit",
        "_on_flood",
        "_on_persistence",
        "_parser",
        "_passes",
        "_skip",
    )

    def __init__(
        self, parser: Parser, limit: FrameLimit, on_flood: Callable[[], None], on_persistence: Callable[[], None]
    ) -> None:
        self._parser = parser
        self._limit = limit
        self._on_flood = on_flood
        self._on_persistence = on_persistence
        self._held = b""  # the beginning of a head that has not arrived whole
        self._skip = 0  # bytes of the present frame that are still to come
        self._flooded = False
        self._passes = False  # everything goes to the parser: it has found, or will find, the end
        self._discarded = 0

    def feed_eof(self) -> None:
        self._parser.feed_eof()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Count the frames that begin in these bytes, and have the parser read them."""
        if self._passes:
            return self._parser.feed_data(data)
        if self._discarded > _MOST_DISCARDED_FRAMES:
            self._on_persistence()
            return False, b""
        if self._held:
            data, self._held = self._held + data, b""
        place, size = self._skip, len(data)
        while place < size:
            head = _read_head(data, place)
            if head is None:
                self._held = data[place:]
                data = data[:place]
                break
            cost, frame_bytes = head
            if self._flooded:
                if data[place] & 0x0F == _CLOSE:
                    self._passes = True
                    return self._parser.feed_data(data[place:])
                self._discarded += 1
                if self._discarded > _MOST_DISCARDED_FRAMES:
                    self._on_persistence()
                    return False, b""
            elif cost and not self._limit.take(cost):
                self._flooded = True
                self._parser.feed_data(data[:place])
                self._on_flood()
            place += frame_bytes
        self._skip = max(place - size, 0)
        return (False, b"") if self._flooded else self._parser.feed_data(data)


def _read_head(data: bytes, place: int) -> tuple[float, int] | None:
    """The cost of the frame that starts there, and its size in bytes (RFC 6455, 5.2); None for an incomplete head."""
    if len(data) - place < 2:
        return None
    first, second = data[place], data[place + 1]
    length, head_bytes = second & 0x7F, 2
    if length > 125:
        if first & _CONTROL_BIT:
            return 1.0, len(data)  # the parser ends the connection: a control frame is not that long
        head_bytes = 4 if length == 126 else 10
        if len(data) - place < head_bytes:
            return None
        length = int.from_bytes(data[place + 2 : place + head_bytes], "big")
    frame_bytes = head_bytes + (4 if second & _MASK_BIT else 0) + length
    if first & _CONTROL_BIT:
        return (0.0 if first & 0x0F == _CLOSE else 1.0), frame_bytes
    if first & _FIN_BIT:
        return (_FRAGMENT_COST if not first & 0x0F else 0.0), frame_bytes
    return (_FRAGMENT_COST if length else 1.0), frame_bytes
