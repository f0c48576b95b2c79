"""One room: a log with a short memory and no table, and who is in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from service.domain.events.position import Position, lost, new_epoch
from service.realtime.broadcast_log import BroadcastLog
from service.realtime.encoding import (
    EncodedEntry,
    compact,
    moment,
    text_frame,
)
from service.realtime.ring import Ring
from service.realtime.rooms.presence import Presence
from service.realtime.subscribers import EventFilter
from service.security.authenticator import Principal

_RING_BYTES: Final = 8 << 20
# An answer lies in memory until its reader has taken it: 50 readers who did not, of the whole of a ring, took 270 MB.
_PAGE_BYTES: Final = 262_144
# Readers a little behind must find what they miss here even where no history is kept for those who come back.
_RING_ENTRIES: Final = 1_000

ALL: Final = EventFilter()
MESSAGES: Final = EventFilter(events=frozenset({"message"}))
"""For those who may not see who comes and goes, and for event streams."""


class Room(BroadcastLog):
    """Positions count its messages; its epoch ends with it.

    Args:
        history: messages that somebody who comes back may read.

    Attributes:
        visitors: readers who are no members.
        times: when each message of the history was sent, in seconds since 1970.
    """

    def __init__(self, name: str, presence: Callable[[Room], Presence], history: int) -> None:
        super().__init__(new_epoch(), Ring(0, max(_RING_ENTRIES, history), _RING_BYTES))
        self.name = name
        self.presence = presence(self)
        self.visitors = 0
        self.times: deque[float] = deque(maxlen=history)

    @property
    def oldest(self) -> int:
        """The seq behind which somebody who comes back may read on."""
        return self.ring.head - min(len(self.times), len(self.ring))

    @property
    def is_deserted(self) -> bool:
        return not len(self.presence) and not self.visitors

    async def lost(self, position: Position, reader: UUID) -> str | None:
        return self.lost_now(position)

    def lost_now(self, position: Position) -> str | None:
        """Why the room cannot be read from there; None when it can."""
        return lost(position, self.head, self.oldest + 1)

    async def first(self) -> int:
        return self.oldest + 1

    def send(self, principal: Principal, data: Any, now: datetime) -> EncodedEntry:
        """Put a message at the end of the log: every member gets the same bytes."""
        seq = self.ring.head + 1
        position = f"{self.epoch}-{seq}"
        frame = compact(
            {
                "type": "message",
                "room": self.name,
                "id": position,
                "from": {"id": str(principal.caller.id), "username": principal.username},
                "time": moment(now),
                "data": data,
            }
        )
        self.times.append(now.timestamp())
        entry = EncodedEntry(seq, None, "message", position, frame, frame)
        self.append(entry)
        return entry

    def messages(self, after: int, limit: int) -> list[EncodedEntry]:
        """What lies behind a seq that `lost_now` has nothing against, the oldest first: a page, of one message at least."""
        return self.ring.after(after, _PAGE_BYTES)[:limit]

    def forget(self, before: float) -> None:
        """Let nobody who comes back read what was sent before that moment."""
        while self.times and self.times[0] < before:
            self.times.popleft()

    def tell(self, change: dict[str, Any]) -> None:
        """Tell the members who came and went. Not part of the log: who is behind asks again with `members`."""
        self.tell_live("presence", text_frame(compact({"type": "presence", "room": self.name, **change})))
