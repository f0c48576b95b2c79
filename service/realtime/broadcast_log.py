"""A log that many read at once: the feed is one, each room is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from service.domain.events.position import Position, lost
from service.realtime.batcher import Batcher
from service.realtime.encoding import EncodedEntry
from service.realtime.ring import Ring
from service.realtime.subscribers import (
    EncodingGroup,
    EventFilter,
    LiveReader,
    SubscriberGroup,
)


class Trimmed(Exception):
    """The log no longer holds the entries after the requested seq."""


@dataclass(frozen=True, slots=True)
class Page:
    """The entries after a seq. `seen`: the seq up to which the log was searched."""

    entries: list[EncodedEntry]
    seen: int


class BroadcastLog:
    """A ring, and its live readers.

    Appending is synchronous and waits for no reader: see `Batcher`.
    """

    def __init__(self, epoch: str, ring: Ring) -> None:
        self.epoch = epoch
        self.ring = ring
        self._groups: dict[object, dict[EventFilter, SubscriberGroup]] = {}
        self._watchers: dict[LiveReader, None] = {}
        self._batcher = Batcher(self._detach_all)
        self._delivered_seq = ring.head

    @property
    def head(self) -> Position:
        return Position(self.epoch, self.ring.head)

    @property
    def delivered_seq(self) -> int:
        """The seq up to which live readers received everything; later entries are pending."""
        return self._delivered_seq if self._batcher.has_pending else self.ring.head

    def append(self, entry: EncodedEntry) -> None:
        """Put the next entry at the end; live readers receive it at the end of this turn of the loop, if not before."""
        for watcher in [watcher for watcher in self._watchers if watcher.filter.matches(entry)]:
            del self._watchers[watcher]
            watcher.on_detached(self.ring.head)
        self._delivered_seq = self.delivered_seq
        self.ring.append(entry)
        keys = (None,) if entry.key is None else (None, entry.key)
        groups = (group for key in keys for group in self._groups.get(key, {}).values())
        self._batcher.add(entry, [group for group in groups if group.filter.matches(entry)])

    def flush(self) -> None:
        """Deliver now what is pending."""
        self._batcher.flush()

    def attach(self, reader: LiveReader, seq: int) -> EncodingGroup | None:
        """Deliver everything from now on to a reader that stands at `seq`; None if it is not at the head.

        Check and act lie in one turn of the loop: nothing can come between the reader's last page and its first live
        entry.
        """
        # Pending entries are after the live readers' position, and would be delivered to this reader as well.
        self.flush()
        if seq != self.ring.head:
            return None
        groups = self._groups.setdefault(reader.filter.key, {})
        return groups.setdefault(reader.filter, SubscriberGroup(reader.filter)).add(reader)

    def watch(self, reader: LiveReader, seq: int) -> bool:
        """Detach a reader that stands at `seq` when the next entry comes; False if it is not at the head."""
        if seq != self.ring.head:
            return False
        self._watchers[reader] = None
        return True

    def detach(self, reader: LiveReader) -> None:
        """Deliver nothing more to this reader; harmless when it is not attached."""
        self._watchers.pop(reader, None)
        groups = self._groups.get(reader.filter.key)
        group = groups and groups.get(reader.filter)
        if not groups or not group:
            return
        group.discard(reader)
        if not group.by_encoding:
            del groups[reader.filter]
            if not groups:
                del self._groups[reader.filter.key]

    def interrupt(self, epoch: str, ring: Ring) -> None:
        """Continue with another ring. Readers find out by their next step that what comes next for them is gone."""
        self.flush()
        self._detach_all(list(self.live_readers()))
        self.epoch, self.ring = epoch, ring
        self._delivered_seq = ring.head

    def live_readers(self) -> Iterator[LiveReader]:
        yield from self._watchers
        for groups in self._groups.values():
            for group in groups.values():
                for same in group.by_encoding.values():
                    yield from same.readers

    def send_live(self, event: str, data: bytes) -> None:
        """Send something that is not part of the log to the readers at its head that want such events."""
        self.flush()
        for group in [group for groups in self._groups.values() for group in groups.values()]:
            if group.filter.events is None or event in group.filter.events:
                self._detach_all(group.send(lambda _: data))

    def _detach_all(self, readers: list[LiveReader]) -> None:
        for reader in readers:
            self.detach(reader)
            reader.on_detached(self.ring.head)

    async def lost(self, position: Position, reader: UUID) -> str | None:
        """Why a user cannot go on reading from there; None when it can."""
        return lost(position, self.head, self.ring.first)

    async def first(self) -> int:
        """The lowest seq that can still be read."""
        return self.ring.first

    async def page(self, after: int, wanted: EventFilter, most_bytes: int) -> Page:
        """The entries after a seq; raises `Trimmed`."""
        if not self.ring.reaches(after):
            raise Trimmed()
        entries = self.ring.after(after, most_bytes)
        seen = entries[-1].seq if entries else self.ring.head
        return Page([entry for entry in entries if wanted.matches(entry)], seen)
