"""The newest entries of one log, shared by everybody who reads it."""

from __future__ import annotations

from itertools import islice
from typing import Final

from service.realtime.encoding import EncodedEntry

_OVERHEAD_BYTES: Final = 280  # of the objects that an entry consists of, and of its place in the list
_DROPPED: Final = EncodedEntry(0, None, "", "", b"", b"")


class Ring:
    """Entries with dense seqs up to `head`, bounded by count and bytes; the oldest go first.

    Args:
        head: seq of the last entry before the first one that will be appended.
    """

    def __init__(self, head: int, most_entries: int, most_bytes: int) -> None:
        self.head = head
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entries: list[EncodedEntry] = []
        self._start = 0
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The approximate size of its entries."""
        return self._bytes

    @property
    def first(self) -> int:
        """The lowest seq still held; head + 1 when nothing is."""
        return self.head - len(self) + 1

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def append(self, entry: EncodedEntry) -> None:
        """Add the next entry; a seq that does not follow is a fault of the caller."""
        if entry.seq != self.head + 1:
            raise ValueError(f"entry {entry.seq} does not follow {self.head}")
        self._entries.append(entry)
        self.head = entry.seq
        self._bytes += _size(entry)
        while len(self) > self._most_entries or (self._bytes > self._most_bytes and len(self) > 1):
            self.drop_oldest()

    def clear(self) -> None:
        """Hold nothing; the next entry follows the last one all the same."""
        self._entries.clear()
        self._start = self._bytes = 0

    def drop_oldest(self) -> None:
        self._bytes -= _size(self._entries[self._start])
        # Released here and now: its place in the list may stay until half of all places are free.
        self._entries[self._start] = _DROPPED
        self._start += 1
        # Moving the rest down each time would cost the length of the ring; at half it costs nothing worth counting.
        if self._start * 2 >= len(self._entries):
            del self._entries[: self._start]
            self._start = 0

    def reaches(self, seq: int) -> bool:
        """Whether the ring holds every entry after `seq`."""
        return seq >= self.first - 1

    def after(self, seq: int, most_bytes: int) -> list[EncodedEntry]:
        """Entries after `seq`, which the ring must reach: at least one if there is any, then as many as fit."""
        start = self._start + seq - self.first + 1
        found: list[EncodedEntry] = []
        size = 0
        for entry in islice(self._entries, start, None):
            size += _size(entry)
            if found and size > most_bytes:
                break
            found.append(entry)
        return found

    def replace(self, entry: EncodedEntry) -> None:
        """Put another entry in the place of the one with its seq, if that is still held."""
        if self.first <= entry.seq <= self.head:
            index = self._start + entry.seq - self.first
            self._bytes += _size(entry) - _size(self._entries[index])
            self._entries[index] = entry


def _size(entry: EncodedEntry) -> int:
    # In a room the two are one.
    return len(entry.frame) + (0 if entry.data is entry.frame else len(entry.data)) + _OVERHEAD_BYTES
