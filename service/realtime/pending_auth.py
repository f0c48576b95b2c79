"""Where connections wait that have not said yet who they are."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from service.domain.errors import TooMany

_MOST_WAITING: Final = 100  # of one network; each says who it is within seconds or is gone


class PendingAuth:
    """Bounded by number for each network, and by time for each connection."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self._of: Counter[str] = Counter()
        self._closed = False

    @contextlib.asynccontextmanager
    async def wait(self, network: str, timeout_s: float) -> AsyncIterator[None]:
        """Time for a client to authenticate: raises TimeoutError when it is over, or at once at shutdown.

        Raises `TooMany` where too many of the same network are waited for.
        """
        if self._of[network] >= _MOST_WAITING:
            raise TooMany(timeout_s, "Too many connections from this address have not said who they are.")
        self._of[network] += 1
        try:
            async with asyncio.timeout(0 if self._closed else timeout_s) as limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        finally:
            self._of[network] -= 1
            if not self._of[network]:
                del self._of[network]

    def close(self) -> None:
        """End every wait."""
        self._closed = True
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0)
