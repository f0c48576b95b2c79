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
# Slow readers must find the entries they missed here, even if the room retains no history.
_RING_ENTRIES: Final = 1_000

ALL: Final = EventFilter()
MESSAGES: Final = EventFilter(events=frozenset({"message"}))
"""For users who may not see members, and for event streams."""


class Room(BroadcastLog):
    """Positions count its messages; its epoch ends with it.

    Args:
        history: messages retained for readers that resume.

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
        """The seq after which a reader may resume."""
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
        """The entries after a seq that `lost_now` accepts, oldest first: one page, with at least one message."""
        return self.ring.after(after, _PAGE_BYTES)[:limit]

    def forget(self, before: float) -> None:
        """Expire the messages that were sent before that moment."""
        while self.times and self.times[0] < before:
            self.times.popleft()

    def tell(self, change: dict[str, Any]) -> None:
        """Announce joins and leaves. They are not part of the log: a reader that missed them requests `members`."""
        self.tell_live("presence", text_frame(compact({"type": "presence", "room": self.name, **change})))
