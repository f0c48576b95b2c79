"""Admission to the hash queue: no network may fill it, and a client that disconnects frees its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from service.domain.errors import TooMany
from service.domain.ports import Hasher
from service.security.networks import network_of

P = ParamSpec("P")
T = TypeVar("T")

_SHARE: Final = 4
_LEAST: Final = 4  # a household with one address logs in together


class ProcessHasher(Hasher, Protocol):
    """The one that a process has, until it ends."""

    def close(self) -> None:
        """Release its threads. Safe to call twice."""


class HashAdmission:
    """Admits passwords to the queue: each network may use a quarter of the places, or four if that is more.

    Args:
        places: how many may wait in all; what is over that the hasher itself refuses.
    """

    def __init__(self, hasher: Hasher, places: int) -> None:
        self._hasher = hasher
        self._most = max(_LEAST, places // _SHARE)
        self._taken: Counter[str] = Counter()

    def of(self, client: str) -> AdmittedHasher:
        """The hasher for requests from that address."""
        return AdmittedHasher(self, self._hasher, network_of(client))

    @contextmanager
    def take(self, network: str) -> Iterator[None]:
        """Hold one of a network's places; raises `TooMany` where it has no more."""
        if self._taken[network] >= self._most:
            raise TooMany(1, "Too many passwords of this network wait to be checked; come back in a second.")
        self._taken[network] += 1
        try:
            yield
        finally:
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]


class AdmittedHasher:
    """Keeps `Hasher` for one request, of which at most one password waits at a time.

    Raises `TooMany` where its network has too many waiting.
    """

    def __init__(self, places: HashAdmission, hasher: Hasher, network: str) -> None:
        self._places = places
        self._hasher = hasher
        self._network = network
        self._waiting: asyncio.Task[Any] | None = None
        self._left = False

    async def hash(self, password: str) -> str:
        return await self._take(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._take(self._hasher.verify, password_hash, password)

    def is_outdated(self, password_hash: str) -> bool:
        return self._hasher.is_outdated(password_hash)

    def leave(self) -> None:
        """Cancel the waiting job and refuse later ones: the client has disconnected. A job that a thread has started runs to its end.

        The waiting task is cancelled; use cases hash before they write.
        """
        self._left = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _take(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._left:
            raise asyncio.CancelledError
        with self._places.take(self._network):
            # A task of its own, which can be dropped while the write around it is shielded.
            task = asyncio.create_task(work(*args, **kwargs), name="wait for a hash")
            self._waiting = task
            try:
                return await task
            finally:
                self._waiting = None
