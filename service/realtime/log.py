"""A log that many read at once: the feed is one, each room is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from service.domain.positions import Position
from service.realtime.frames import Entry, Form, render
from service.realtime.ring import Ring

# What is written to a reader at once. A commit of thousands must not lie in every reader's buffer as a whole: whose
# socket is full after the first piece reads the rest by itself.
_PIECE_BYTES: Final = 262_144


class Want(NamedTuple):
    """What a reader chooses: entries with this key (None: all) and of these events (None: all)."""

    key: object = None
    events: frozenset[str] | None = None

    def takes(self, entry: Entry) -> bool:
        return (self.key is None or entry.key == self.key) and (self.events is None or entry.event in self.events)


class Trimmed(Exception):
    """The log no longer holds what lies behind the place asked for."""


@dataclass(frozen=True, slots=True)
class Page:
    """What lies behind a place. `seen`: the seq up to which the log was looked at."""

    entries: list[Entry]
    seen: int


class LiveReader(Protocol):
    """Who stands at the head of a log and is handed what comes."""

    @property
    def form(self) -> Form: ...

    def offer(self, data: bytes) -> bool:
        """Take what came, without waiting; False: hand me nothing more, I read on by myself."""

    def fall_behind(self, seq: int) -> None:
        """Called after such a False: what was handed out reached up to `seq`."""


class Log:
    """A ring, and those who stand at its head.

    Appending is synchronous and waits for nobody: what gathers in one turn of the loop goes out at its end, one write
    a reader.
    """

    def __init__(self, epoch: str, ring: Ring) -> None:
        self.epoch = epoch
        self.ring = ring
        self._groups: dict[object, dict[Want, _Group]] = {}
        self._gathered: dict[Want, _Group] = {}
        self._gathered_bytes = 0
        self._handed_out = ring.head
        self._flush_handle: asyncio.Handle | None = None

    @property
    def head(self) -> Position:
        return Position(self.epoch, self.ring.head)

    @property
    def handed_out(self) -> int:
        """The seq up to which readers at the head were handed everything: what has gathered lies behind it."""
        return self._handed_out if self._gathered else self.ring.head

    def append(self, entry: Entry) -> None:
        """Put the next entry at the end; its readers get it at the end of this turn of the loop, if not before."""
        self._handed_out = self.handed_out
        self.ring.append(entry)
        for key in (None, entry.key) if entry.key is not None else (None,):
            for group in self._groups.get(key, {}).values():
                if group.want.takes(entry):
                    group.gathered.append(entry)
                    self._gathered[group.want] = group
        if not self._gathered:
            return
        self._gathered_bytes += len(entry.frame)
        if self._gathered_bytes >= _PIECE_BYTES:
            self.flush()
        elif self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Hand out now what has gathered."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        for group in self._gathered.values():
            self._let_go(group, group.hand_out())
        # Not before: a reader that was offered something may ask up to where it was served.
        self._gathered.clear()
        self._gathered_bytes = 0

    def attach(self, reader: LiveReader, want: Want, seq: int) -> bool:
        """Have a reader that stands at `seq` handed everything from now on; False if it is not at the head.

        Check and act lie in one turn of the loop: nothing can come between the reader's last page and its first live
        entry.
        """
        # What has gathered lies behind readers at the head and would be handed to this one as well.
        self.flush()
        if seq != self.ring.head:
            return False
        self._groups.setdefault(want.key, {}).setdefault(want, _Group(want)).readers.add(reader)
        return True

    def detach(self, reader: LiveReader, want: Want) -> None:
        """Hand this reader nothing more; harmless when it is not attached."""
        groups = self._groups.get(want.key)
        group = groups and groups.get(want)
        if not groups or not group:
            return
        group.readers.discard(reader)
        if not group.readers:
            del groups[want]
            if not groups:
                del self._groups[want.key]

    def live_readers(self) -> Iterator[LiveReader]:
        for groups in self._groups.values():
            for group in groups.values():
                yield from group.readers

    def tell_live(self, event: str, data: bytes) -> None:
        """Hand something that is not part of the log to the readers at its head that want such events."""
        self.flush()
        for group in [group for groups in self._groups.values() for group in groups.values()]:
            if group.want.events is None or event in group.want.events:
                self._let_go(group, [reader for reader in group.readers if not reader.offer(data)])

    def _let_go(self, group: _Group, readers: list[LiveReader]) -> None:
        for reader in readers:
            self.detach(reader, group.want)
            reader.fall_behind(self.ring.head)

    async def lost(self, position: Position) -> str | None:
        """Why the log cannot be read from there; None when it can."""
        if position.epoch != self.epoch:
            return "epoch"
        if position.seq > self.ring.head:
            return "ahead"
        return None if self.ring.reaches(position.seq) else "trimmed"

    async def first(self) -> int:
        """The lowest seq that can still be read."""
        return self.ring.first

    async def page(self, after: int, want: Want, most_bytes: int) -> Page:
        """What lies behind a place; raises `Trimmed`."""
        if not self.ring.reaches(after):
            raise Trimmed()
        entries = self.ring.after(after, most_bytes)
        seen = entries[-1].seq if entries else self.ring.head
        return Page([entry for entry in entries if want.takes(entry)], seen)


class _Group:
    """Live readers that want the same: each form of the bytes is made once for all of them."""

    __slots__ = ("gathered", "readers", "want")

    def __init__(self, want: Want) -> None:
        self.want = want
        self.readers: set[LiveReader] = set()
        self.gathered: list[Entry] = []

    def hand_out(self) -> list[LiveReader]:
        """Give every reader what has gathered; returns those that read on by themselves."""
        entries, self.gathered = self.gathered, []
        made: dict[Form, bytes] = {}
        full = []
        for reader in self.readers:
            data = made.get(reader.form)
            if data is None:
                data = made[reader.form] = render(entries, reader.form)
            if not reader.offer(data):
                full.append(reader)
        return full
