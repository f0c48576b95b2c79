"""Failed logins, counted in the memory of this process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from service.security.login_throttle.backoff import NONE, Backoff, Count
from service.security.login_throttle.counters import BeginResult, Kind, ThrottleKey

MOST_KEYS: Final = 100_000
_SWEEP_EVERY_S: Final = 1.0
_OTHERS: Final = ""  # the name of no account and no network


class _Row:
    """One key's. `in_flight`: attempts that have not ended."""

    __slots__ = ("count", "in_flight")

    def __init__(self) -> None:
        self.count: Count = NONE
        self.in_flight = 0


class MemoryCounters:
    """Implements `FailureCounters`.

    A kind of key has a bounded number of rows. When all are taken by what has failed and is not forgiven yet, those keys
    that have none share one: strangers then wait for each other, which is safe, and known pairs, being of another kind, do
    not wait for strangers. Occupying a row costs an attacker a failed login, with its hash, and the row is free again a share of the
    window later.

    Args:
        clock: seconds, monotonic.
        other_terms: kinds that do not count on the terms of `backoff`.
    """

    def __init__(
        self,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
        *,
        other_terms: Mapping[Kind, Backoff] = MappingProxyType({}),
    ) -> None:
        self._backoff = backoff
        self._other_terms = other_terms
        self._clock = clock
        self._most_keys = most_keys
        self._rows: defaultdict[Kind, dict[str, _Row]] = defaultdict(dict)
        self._swept_at: dict[Kind, float] = {}
        self._trusted_until: dict[ThrottleKey, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    async def begin(self, *keys: ThrottleKey) -> BeginResult:
        now = self._clock()
        found = [self._row(key, now) for key in keys]
        wait_s = max(self._terms(key).until_next_s(row.count, row.in_flight, now) for key, row in found)
        if wait_s > 0:
            return BeginResult(wait_s, ())
        for key, row in found:
            self._rows[key.kind][key.name] = row
            row.in_flight += 1
        return BeginResult(0.0, [key for key, _ in found])

    async def end(self, keys: Sequence[ThrottleKey], *, failed: bool) -> Sequence[ThrottleKey]:
        # A row with an attempt in progress is never dropped, so each key still has the row of `begin`.
        waits = [key for key in keys if failed and self._fail(key, self._rows[key.kind][key.name])]
        for key in keys:
            self._rows[key.kind][key.name].in_flight -= 1
            self._drop_if_empty(key)
        return waits

    async def forgive(self, key: ThrottleKey) -> None:
        if (row := self._rows[key.kind].get(key.name)) is not None:
            row.count = NONE
            self._drop_if_empty(key)

    async def trust(self, key: ThrottleKey) -> None:
        now = self._clock()
        self._trusted_until.pop(key, None)  # so that the oldest stay in front
        self._trusted_until[key] = now + self._backoff.window_s
        while (oldest := next(iter(self._trusted_until))) != key and (
            self._trusted_until[oldest] <= now or len(self._trusted_until) > self._most_keys
        ):
            del self._trusted_until[oldest]

    async def is_trusted(self, key: ThrottleKey) -> bool:
        return self._trusted_until.get(key, 0.0) > self._clock()

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
            self._rows[kind] = {name: row for name, row in rows.items() if row.in_flight or level(row.count, now) > 0}
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
        if row is not None and not row.in_flight and row.count is NONE:
            del self._rows[key.kind][key.name]
