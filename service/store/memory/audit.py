"""The audit of the memory store: the newest entries, bounded by count and by age."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from service.domain.audit import AuditEntry, AuditQuery, sequence_at

MOST_ENTRIES: Final = 10_000  # 9 MB
_TOGETHER: Final = 1_000  # of those that are forgotten are taken out at once, which moves all others


class MemoryAudit:
    """Entries in the order of their sequences."""

    def __init__(self, keep_s: float) -> None:
        self._keep_us = int(keep_s * 1e6)
        self._entries: list[AuditEntry] = []
        self._first = 0  # of those that are not forgotten
        self._last = 0  # sequence

    def keep(self, entries: Iterable[AuditEntry], now: datetime) -> None:
        """Add entries that were just committed, and delete those beyond retention."""
        moment = sequence_at(now)
        for entry in entries:
            self._last = max(self._last + 1, moment)
            self._entries.append(entry.with_sequence(self._last))
        oldest = moment - self._keep_us
        if len(self._entries) - self._first > MOST_ENTRIES:
            self._first = len(self._entries) - MOST_ENTRIES
        if self._first < len(self._entries) and self._entries[self._first].sequence < oldest:
            self._first = self._index(oldest)
        if self._first >= _TOGETHER:
            del self._entries[: self._first]
            self._first = 0

    def page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        first = self._first if query.first is None else self._index(query.first)
        end = len(self._entries) if query.end is None else self._index(query.end)
        found = (self._entries[number] for number in range(end - 1, first - 1, -1))
        return list(islice((entry for entry in found if _matches(entry, query)), query.limit))

    def _index(self, sequence: int) -> int:
        """The index of the first entry at that sequence or after it."""
        return bisect_left(self._entries, sequence, lo=self._first, key=lambda entry: entry.sequence)


class MemoryAuditReads:
    """The audit, as it was last committed."""

    def __init__(self, audit: MemoryAudit) -> None:
        self._audit = audit

    async def list_page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        return self._audit.page(query)


def _matches(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        query.actor in (None, entry.actor)
        and query.subject in (None, entry.subject)
        and query.action in (None, entry.action)
    )
