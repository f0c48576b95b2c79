"""Imports and exports under way: so many at once, and imports end when the service does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from service.domain.errors import Unavailable

_MOST_AT_ONCE: Final = 2  # of each kind; each may keep a core and the store busy
_COME_BACK_S: Final = 10


class BulkJobLimiter:
    """Limits concurrent imports and exports, and the time to wait for the next bytes.

    Attributes:
        ending: whether the service shuts down: imports end at the next batch.
    """

    def __init__(self) -> None:
        self.ending = False
        self._running = {"import": 0, "export": 0, "audit export": 0}
        self._waits: set[asyncio.Timeout] = set()

    def running(self, kind: str) -> int:
        return self._running[kind]

    @contextmanager
    def one(self, kind: str) -> Iterator[None]:
        """A place among the imports or the exports; raises `Unavailable` where as many run as may."""
        if self._running[kind] >= _MOST_AT_ONCE:
            raise Unavailable(_COME_BACK_S, f"{_MOST_AT_ONCE} {kind}s run already; come back when one has ended.")
        self._running[kind] += 1
        try:
            yield
        finally:
            self._running[kind] -= 1

    @asynccontextmanager
    async def wait(self, timeout_s: float) -> AsyncIterator[None]:
        """Time for the next bytes of an import; ends in TimeoutError, at once when the service stops."""
        async with asyncio.timeout(0 if self.ending else timeout_s) as limit:
            self._waits.add(limit)
            try:
                yield
            finally:
                self._waits.discard(limit)

    def end(self) -> None:
        """End imports after the batch that is being written."""
        self.ending = True
        for limit in self._waits:
            if not limit.expired():
                limit.reschedule(0)
