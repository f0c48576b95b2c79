"""One room: a log with a short memory and no table, and the readers of this process."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from service.domain.events.position import Position, lost
from service.realtime.broadcast_log import BroadcastLog
from service.realtime.encoding import EncodedEntry, compact, text_frame
from service.realtime.ring import Ring
from service.realtime.subscribers import EventFilter

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
        head: seq of the last message before those that it will hold.
        history: messages retained for readers that resume.

    Attributes:
        listeners: readers that are not members.
        times: when each message of the history was sent, in seconds since 1970.
    """

    def __init__(self, name: str, epoch: str, head: int, history: int) -> None:
        super().__init__(epoch, _create_ring(head, history))
        self.name = name
        self.listeners = 0
        self.times: deque[float] = deque(maxlen=history)

    @property
    def count(self) -> int:
        """Members, in all processes."""
        raise NotImplementedError

    @property
    def oldest(self) -> int:
        """The seq after which a reader may resume."""
        return self.ring.head - min(len(self.times), len(self.ring))

    async def lost(self, position: Position, reader: UUID) -> str | None:
        return self.lost_now(position)

    def lost_now(self, position: Position) -> str | None:
        """Why the room cannot be read from there; None when it can."""
        return lost(position, self.head, self.oldest + 1)

    async def first(self) -> int:
        return self.oldest + 1

    def take(self, entry: EncodedEntry, time: datetime) -> None:
        """Put the next message at the end of the log."""
        self.times.append(time.timestamp())
        self.append(entry)

    def messages(self, after: int, limit: int) -> list[EncodedEntry]:
        """The entries after a seq that `lost_now` accepts, oldest first: one page, with at least one message."""
        return self.ring.after(after, _PAGE_BYTES)[:limit]

    def forget(self, before: float) -> None:
        """Expire the messages that were sent before that moment."""
        while self.times and self.times[0] < before:
            self.times.popleft()

    def restart(self, epoch: str, head: int, history: int) -> None:
        """Continue at another position: what lies between cannot be read any more. Every reader receives a reset."""
        self.interrupt(epoch, _create_ring(head, history))
        self.times.clear()

    def announce(self, change: dict[str, Any]) -> None:
        """Announce joins and leaves. They are not part of the log: a reader that missed them requests `members`."""
        self.send_live("presence", text_frame(compact({"type": "presence", "room": self.name, **change})))


def _create_ring(head: int, history: int) -> Ring:
    return Ring(head, max(_RING_ENTRIES, history), _RING_BYTES)
