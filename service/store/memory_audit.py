"""The audit of the memory store: the newest entries, bounded by count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from service.domain.audit import AuditQuery, Entry, place_of

MOST_ENTRIES: Final = 20_000  # about 10 MB
_TOGETHER: Final = 1_000  # are forgotten at once, so that the list is moved seldom


class MemoryAudit:
    """Entries in the order of their places."""

    def __init__(self, keep_s: float) -> None:
        self._keep_us = int(keep_s * 1e6)
        self._entries: list[Entry] = []
        self._last = 0

    def keep(self, entries: Iterable[Entry], now: datetime) -> None:
        """Keep what was just committed, and forget what is too old or too much."""
        moment = place_of(now)
        for entry in entries:
            self._last = max(self._last + 1, moment)
            self._entries.append(entry.put(self._last))
        forgotten = max(0, len(self._entries) - MOST_ENTRIES)
        if self._entries and self._entries[0].place < moment - self._keep_us:
            forgotten = max(forgotten, self._index(moment - self._keep_us))
        if forgotten >= _TOGETHER or forgotten == len(self._entries):
            del self._entries[:forgotten]

    def page(self, query: AuditQuery) -> Sequence[Entry]:
        end = len(self._entries) if query.end is None else self._index(query.end)
        first = 0 if query.first is None else self._index(query.first)
        found = (
            entry for entry in map(self._entries.__getitem__, range(end - 1, first - 1, -1)) if _matches(entry, query)
        )
        return list(islice(found, query.limit))

    def _index(self, place: int) -> int:
        """Of the first entry at that place or behind it."""
        return bisect_left(self._entries, place, key=lambda entry: entry.place)


def _matches(entry: Entry, query: AuditQuery) -> bool:
    return (
        query.actor in (None, entry.actor)
        and query.subject in (None, entry.subject)
        and query.action in (None, entry.action)
    )
