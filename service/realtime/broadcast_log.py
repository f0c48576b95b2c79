"""A log that many read at once: the feed is one, each room is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final
from uuid import UUID

from service.domain.events.position import Position, lost
from service.realtime.encoding import EncodedEntry
from service.realtime.ring import Ring
from service.realtime.subscribers import (
    EncodingGroup,
    EventFilter,
    LiveReader,
    SubscriberGroup,
)

# What is written to a reader at once. A commit of thousands must not lie in every reader's buffer as a whole: whose
# socket is full after the first piece reads the rest by itself.
_PIECE_BYTES: Final = 262_144
_LONG_S: Final = 0.001  # handing out to so many readers takes longer than writers take to answer it


class Trimmed(Exception):
    """The log no longer holds the entries after the requested seq."""


@dataclass(frozen=True, slots=True)
class Page:
    """The entries after a seq. `seen`: the seq up to which the log was searched."""

    entries: list[EncodedEntry]
    seen: int


class BroadcastLog:
    """A ring, and its live readers.

    Appending is synchronous and waits for no reader: the entries of one turn of the event loop are delivered at its end, with one
    write per reader.
    """

    def __init__(self, epoch: str, ring: Ring) -> None:
        self.epoch = epoch
        self.ring = ring
        self._audiences: dict[object, dict[EventFilter, SubscriberGroup]] = {}
        self._watchers: dict[LiveReader, None] = {}
        self._gathered: dict[EventFilter, SubscriberGroup] = {}
        self._gathered_bytes = 0
        self._gathered_entries = 0
        self._gather_s = 0.0
        self._delivered_seq = ring.head
        self._flush_handle: asyncio.Handle | None = None

    @property
    def head(self) -> Position:
        return Position(self.epoch, self.ring.head)

    @property
    def delivered_seq(self) -> int:
        """The seq up to which live readers received everything; later entries are pending."""
        return self._delivered_seq if self._gathered else self.ring.head

    def append(self, entry: EncodedEntry) -> None:
        """Put the next entry at the end; its readers get it at the end of this turn of the loop, if not before."""
        for watcher in [watcher for watcher in self._watchers if watcher.want.takes(entry)]:
            del self._watchers[watcher]
            watcher.fall_behind(self.ring.head)
        self._delivered_seq = self.delivered_seq
        self.ring.append(entry)
        for key in (None, entry.key) if entry.key is not None else (None,):
            for audience in self._audiences.get(key, {}).values():
                if audience.want.takes(entry):
                    audience.gathered.append(entry)
                    self._gathered[audience.want] = audience
        if not self._gathered:
            return
        self._gathered_bytes += len(entry.frame)
        self._gathered_entries += 1
        if self._gathered_bytes >= _PIECE_BYTES:
            self.flush()
        elif self._flush_handle is None:
            self._flush_soon(perf_counter() + self._gather_s)

    def flush(self) -> None:
        """Hand out now what has gathered."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if not self._gathered:
            return
        began = perf_counter()
        for audience in self._gathered.values():
            self._let_go(audience.deliver())
        took_s = perf_counter() - began
        # Writing to a thousand sockets takes 5 ms, one entry or ten. Where entries come faster than that, those whose
        # writers wait for this very handing out are about to come: a little patience makes one write of them all.
        # Where they come one by one it would only make each late.
        self._gather_s = took_s / 16 if self._gathered_entries > 1 and took_s > _LONG_S else 0.0
        # Not before: a reader that was offered something may ask up to where it was served.
        self._gathered.clear()
        self._gathered_bytes = self._gathered_entries = 0

    def _flush_soon(self, at: float) -> None:
        # Turn by turn: uvloop's timers count in milliseconds.
        self._flush_handle = asyncio.get_running_loop().call_soon(self._flush_at, at)

    def _flush_at(self, at: float) -> None:
        if perf_counter() < at:
            self._flush_soon(at)
        else:
            self.flush()

    def attach(self, reader: LiveReader, seq: int) -> EncodingGroup | None:
        """Have a reader that stands at `seq` handed everything from now on; None if it is not at the head.

        Check and act lie in one turn of the loop: nothing can come between the reader's last page and its first live
        entry.
        """
        # Pending entries are after the live readers' position, and would be delivered to this reader as well.
        self.flush()
        if seq != self.ring.head:
            return None
        audiences = self._audiences.setdefault(reader.want.key, {})
        return audiences.setdefault(reader.want, SubscriberGroup(reader.want)).add(reader)

    def watch(self, reader: LiveReader, seq: int) -> bool:
        """Have a reader that stands at `seq` fall behind when something comes; False if it is not at the head."""
        if seq != self.ring.head:
            return False
        self._watchers[reader] = None
        return True

    def detach(self, reader: LiveReader) -> None:
        """Hand this reader nothing more; harmless when it is not attached."""
        self._watchers.pop(reader, None)
        audiences = self._audiences.get(reader.want.key)
        audience = audiences and audiences.get(reader.want)
        if not audiences or not audience:
            return
        audience.discard(reader)
        if not audience.lanes:
            del audiences[reader.want]
            if not audiences:
                del self._audiences[reader.want.key]

    def interrupt(self, epoch: str, ring: Ring) -> None:
        """Continue with another ring. Readers find out by their next step that what comes next for them is gone."""
        self.flush()
        self._let_go(list(self.live_readers()))
        self.epoch, self.ring = epoch, ring
        self._delivered_seq = ring.head

    def live_readers(self) -> Iterator[LiveReader]:
        yield from self._watchers
        for audiences in self._audiences.values():
            for audience in audiences.values():
                for lane in audience.lanes.values():
                    yield from lane.readers

    def tell_live(self, event: str, data: bytes) -> None:
        """Hand something that is not part of the log to the readers at its head that want such events."""
        self.flush()
        for audience in [audience for audiences in self._audiences.values() for audience in audiences.values()]:
            if audience.want.events is None or event in audience.want.events:
                self._let_go(audience.offer(lambda _: data))

    def _let_go(self, readers: list[LiveReader]) -> None:
        for reader in readers:
            self.detach(reader)
            reader.fall_behind(self.ring.head)

    async def lost(self, position: Position, reader: UUID) -> str | None:
        """Why a user cannot go on reading from there; None when it can."""
        return lost(position, self.head, self.ring.first)

    async def first(self) -> int:
        """The lowest seq that can still be read."""
        return self.ring.first

    async def page(self, after: int, want: EventFilter, most_bytes: int) -> Page:
        """The entries after a seq; raises `Trimmed`."""
        if not self.ring.reaches(after):
            raise Trimmed()
        entries = self.ring.after(after, most_bytes)
        seen = entries[-1].seq if entries else self.ring.head
        return Page([entry for entry in entries if want.takes(entry)], seen)
