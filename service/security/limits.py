"""Limits on how often: any request, by two integers; failed logins, by the `limits` library."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from service.domain.errors import InvalidCredentials, TooMany
from service.settings import Rate

_MOST_KEYS: Final = 100_000


class RequestLimit:
    """A sliding window of two fixed ones: so many requests a key in any `seconds`, to within a few per cent.

    What a key did in the window before counts by the share of it that still lies inside the last `seconds`, so that
    nobody gets twice the rate across a border. Both windows are dictionaries of integers and are dropped whole: memory
    is bounded and nothing has to be swept.
    """

    def __init__(self, name: str, rate: Rate) -> None:
        self.name = name
        self.count = rate.most
        self.seconds = rate.seconds
        self.terms = f'"address";q={rate.most};w={rate.seconds}, "user";q={rate.most};w={rate.seconds}'
        self._ends = 0.0
        self._now: dict[object, int] = {}
        self._before: dict[object, int] = {}

    def hit(self, key: object, now: float) -> tuple[int, int]:
        """Count one request; what is left and in how many seconds more is. Raises `TooMany`.

        Args:
            now: seconds of a monotonic clock.
        """
        left_s = self._ends - now
        if left_s <= 0:
            left_s = self._turn(now)
        used = self._now.get(key, 0)
        before = self._before.get(key)
        weight = used if before is None else used + before * left_s / self.seconds
        if weight >= self.count:
            raise TooMany(self._wait(used, before or 0, left_s))
        if used or len(self._now) < _MOST_KEYS:
            self._now[key] = used + 1
        return int(self.count - weight - 1), int(left_s) + 1

    def _turn(self, now: float) -> float:
        """Begin the window that `now` lies in; how long it lasts."""
        follows = now - self._ends < self.seconds
        self._before = self._now if follows else {}
        self._now = {}
        self._ends = self._ends + self.seconds if follows else now + self.seconds
        return self._ends - now

    def _wait(self, used: int, before: int, left_s: float) -> float:
        if used >= self.count or before == 0:
            return left_s
        # When so much of the window before has moved out that one more fits.
        return max(1.0, left_s - (self.count - 1 - used) * self.seconds / before)


class LoginLimit:
    """Failed logins, per account and per network of the caller; successes are free."""

    def __init__(self, rate: Rate) -> None:
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._item = RateLimitItemPerSecond(rate.most, rate.seconds)
        self._pending: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def attempt(self, login: str, client: str) -> AsyncIterator[None]:
        """Wrap one login: raises `TooMany` before it if the account or the network has failed too often.

        Attempts under way count as failed until they have succeeded: a hundred at once get no further than a hundred
        in a row.
        """
        keys = _keys(login, client)
        for key in keys:
            self._pending[key] += 1
        try:
            for key in keys:
                if not await self._limiter.test(self._item, *key, cost=self._pending[key]):
                    stats = await self._limiter.get_window_stats(self._item, *key)
                    raise TooMany(max(1.0, stats.reset_time - time.time()), "Too many failed logins; come back later.")
            try:
                yield
            except InvalidCredentials:
                for key in keys:
                    await self._limiter.hit(self._item, *key)
                raise
        finally:
            for key in keys:
                self._pending[key] -= 1
                if not self._pending[key]:
                    del self._pending[key]


def network_of(client: str) -> str:
    """What one subscriber holds: an IPv4 address, or the /64 of an IPv6 one, of which anybody has 2^64."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


def _keys(login: str, client: str) -> tuple[tuple[str, str], ...]:
    return ("account", login.casefold()), ("network", network_of(client))
