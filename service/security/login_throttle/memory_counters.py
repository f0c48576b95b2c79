"""Failed logins, counted in the memory of this process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from service.domain.errors import WRONG_PROOF
from service.security.login_throttle.backoff import NONE, Backoff, Count
from service.security.login_throttle.failure_counters import Kind, MustWait, ThrottleKey

MOST_KEYS: Final = 100_000
_SWEEP_EVERY_S: Final = 1.0
_OTHERS: Final = ""  # the name of no account and no network


class _Row:
    """One key's. `under_way`: attempts that have not ended."""

    __slots__ = ("count", "under_way")

    def __init__(self) -> None:
        self.count: Count = NONE
        self.under_way = 0


class MemoryCounts:
    """Keeps `FailureCounters`.

    A kind of key has a bounded number of rows. When all are taken by what has failed and is not forgiven yet, those keys
    that have none share one: strangers then wait for each other, which is safe, and known pairs, being of another kind, do
    not wait for strangers. Occupying a row costs an attacker a failed login, with its hash, and the row is free again a share of the
    window later.

    Args:
        tell: called where waits begin, with the keys of the attempt and those that wait.
        clock: seconds, monotonic.
        other_terms: kinds that do not count on the terms of `backoff`.
    """

    def __init__(
        self,
        backoff: Backoff,
        tell: Callable[[Sequence[ThrottleKey], Sequence[ThrottleKey]], None] = lambda keys, waits: None,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
        *,
        other_terms: Mapping[Kind, Backoff] = MappingProxyType({}),
    ) -> None:
        self._backoff = backoff
        self._other_terms = other_terms
        self._tell = tell
        self._clock = clock
        self._most_keys = most_keys
        self._rows: defaultdict[Kind, dict[str, _Row]] = defaultdict(dict)
        self._swept_at: dict[Kind, float] = {}
        self._vouched: dict[ThrottleKey, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    @asynccontextmanager
    async def attempt(self, *keys: ThrottleKey) -> AsyncIterator[None]:
        now = self._clock()
        found = [self._row(key, now) for key in keys]
        wait_s = max(self._terms(key).until_next_s(row.count, row.under_way, now) for key, row in found)
        if wait_s > 0:
            raise MustWait(wait_s)
        for key, row in found:
            self._rows[key.kind][key.name] = row
            row.under_way += 1
        try:
            yield
        except WRONG_PROOF:
            if waits := [key for key, row in found if self._fail(key, row)]:
                self._tell(keys, waits)
            raise
        finally:
            for key, row in found:
                row.under_way -= 1
                self._drop_if_empty(key)

    async def forgive(self, key: ThrottleKey) -> None:
        if (row := self._rows[key.kind].get(key.name)) is not None:
            row.count = NONE
            self._drop_if_empty(key)

    async def trust(self, key: ThrottleKey) -> None:
        now = self._clock()
        self._vouched.pop(key, None)  # so that the oldest stay in front
        self._vouched[key] = now + self._backoff.window_s
        while (oldest := next(iter(self._vouched))) != key and (
            self._vouched[oldest] <= now or len(self._vouched) > self._most_keys
        ):
            del self._vouched[oldest]

    async def is_vouched(self, key: ThrottleKey) -> bool:
        return self._vouched.get(key, 0.0) > self._clock()

    def _row(self, key: ThrottleKey, now: float) -> tuple[ThrottleKey, _Row]:
        """The key's row, or a new one that is not kept yet; where there is no room for it, that of all others."""
        rows = self._rows[key.kind]
        row = rows.get(key.name)
        if row is None and len(rows) >= self._most_keys and not self._make_room(key.kind, now):
            key = ThrottleKey(key.kind, _OTHERS)
            row = rows.get(_OTHERS)
        return key, row or _Row()

    def _make_room(self, kind: Kind, now: float) -> bool:
        """Forget rows in which nothing is left; whether there is room."""
        # Not for every attempt: looking at all of them takes some 50 ms.
        if now - self._swept_at.get(kind, -_SWEEP_EVERY_S) >= _SWEEP_EVERY_S:
            self._swept_at[kind] = now
            level = self._other_terms.get(kind, self._backoff).level
            rows = self._rows[kind]
            self._rows[kind] = {name: row for name, row in rows.items() if row.under_way or level(row.count, now) > 0}
        return len(self._rows[kind]) < self._most_keys

    def _terms(self, key: ThrottleKey) -> Backoff:
        return self._other_terms.get(key.kind, self._backoff)

    def _fail(self, key: ThrottleKey, row: _Row) -> bool:
        """Count one; whether a wait begins."""
        now, terms = self._clock(), self._terms(key)
        waited = terms.wait_s(terms.level(row.count, now)) > 0
        row.count = terms.failed(row.count, now)
        return not waited and terms.wait_s(row.count.level) > 0

    def _drop_if_empty(self, key: ThrottleKey) -> None:
        row = self._rows[key.kind].get(key.name)
        if row is not None and not row.under_way and row.count is NONE:
            del self._rows[key.kind][key.name]
