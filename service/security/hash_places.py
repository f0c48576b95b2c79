"""Places in which passwords wait to be hashed: no network takes them all, and nobody who has gone keeps one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from service.domain.errors import TooMany
from service.domain.ports import Hasher
from service.security.networks import network_of

P = ParamSpec("P")
T = TypeVar("T")

_SHARE: Final = 4
_LEAST: Final = 4  # a family behind one address comes in together


class HashPlaces:
    """Who has passwords waiting: each network a quarter of the places at most, or four where that is more.

    Args:
        places: how many may wait in all; what is over that the hasher itself refuses.
    """

    def __init__(self, hasher: Hasher, places: int) -> None:
        self.hasher = hasher
        self.most = max(_LEAST, places // _SHARE)
        self.taken: Counter[str] = Counter()

    def of(self, client: str) -> HashPlace:
        """What a request from that address hashes with."""
        return HashPlace(self, network_of(client))


class HashPlace:
    """Keeps `Hasher` for one request, of which at most one password waits at a time.

    Raises `TooMany` where its network has too many waiting.
    """

    def __init__(self, places: HashPlaces, network: str) -> None:
        self._places = places
        self._network = network
        self._waiting: asyncio.Task[Any] | None = None
        self._left = False

    async def hash(self, password: str) -> str:
        return await self._take(self._places.hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._take(self._places.hasher.verify, password_hash, password)

    def is_outdated(self, password_hash: str) -> bool:
        return self._places.hasher.is_outdated(password_hash)

    def leave(self) -> None:
        """Drop what waits, and what would come: nobody is there to be answered. What a thread has begun it ends, for nothing.

        Whoever waits for it is cancelled; use cases hash before they write.
        """
        self._left = True
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        self.leave()

    async def _take(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._left:
            raise asyncio.CancelledError
        taken = self._places.taken
        if taken[self._network] >= self._places.most:
            raise TooMany(1, "Too many passwords of this network wait to be checked; come back in a second.")
        taken[self._network] += 1
        # A task of its own, which can be dropped while the write around it is shielded.
        task = asyncio.create_task(work(*args, **kwargs), name="wait for a hash")
        self._waiting = task
        try:
            return await task
        finally:
            self._waiting = None
            taken[self._network] -= 1
            if not taken[self._network]:
                del taken[self._network]
