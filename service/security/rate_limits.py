"""Limits on how often: any request, and what leads to mails; by one number a key."""

from __future__ import annotations

import time
from typing import Final

from service.config.values import Rate
from service.domain.errors import TooMany
from service.security.networks import network_of

_MOST_KEYS: Final = 100_000


class LimitReached(TooMany):
    """A request that a `RequestLimit` refuses. `used_s`: the whole of its time."""

    def __init__(self, limit: RequestLimit, used_s: float, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.limit = limit
        self.used_s = used_s


class RequestLimit:
    """So many requests a key in so many seconds, by the generic cell rate algorithm: one number a key.

    The number is when the key's allowance will be whole again. Each request moves it on by one share of the time, and
    is refused where it would lie more than the whole time ahead: bursts up to the limit pass, a rate above it does not.
    """

    def __init__(self, name: str, rate: Rate) -> None:
        self.name = name
        self.terms = f'"address";q={rate.most};w={rate.seconds}, "user";q={rate.most};w={rate.seconds}'
        self._seconds = float(rate.seconds)
        self._most_s = rate.seconds + 1e-6
        self._share_s = rate.seconds / rate.most
        self._whole_at: dict[object, float] = {}
        self._rested = self._header(self._share_s)

    def hit(self, key: object, now: float) -> float:
        """Count one request; returns the used share of the key's time, for `remaining`. Raises `LimitReached`.

        Args:
            now: seconds of a monotonic clock.
        """
        whole_at = self._whole_at.get(key, 0.0)
        if not whole_at and len(self._whole_at) >= _MOST_KEYS:
            key = self._make_room(key, now)
            whole_at = self._whole_at.get(key, 0.0)
        if whole_at <= now:
            self._whole_at[key] = now + self._share_s
            return self._share_s
        whole_at += self._share_s
        used_s = whole_at - now
        if used_s > self._most_s:
            raise LimitReached(self, self._seconds, used_s - self._seconds)
        self._whole_at[key] = whole_at
        return used_s

    def remaining(self, used_s: float) -> tuple[int, int]:
        """How many requests are left when so much is used up, and in how many seconds all are."""
        # The millionth keeps what is exact in decimals from being rounded down.
        return int((self._seconds - used_s) / self._share_s + 1e-6), int(used_s) + 1

    def header(self, used_s: float) -> str:
        """The value of `RateLimit` when so much is used up."""
        # Who is slower than the limit always hears the same.
        return self._rested if used_s == self._share_s else self._header(used_s)

    def _header(self, used_s: float) -> str:
        left, reset_s = self.remaining(used_s)
        return f'"{self.name}";r={left};t={reset_s}'

    def _make_room(self, key: object, now: float) -> object:
        """Forget keys whose allowance is whole; where none is, all new ones share one."""
        self._whole_at = {known: whole_at for known, whole_at in self._whole_at.items() if whole_at > now}
        return key if len(self._whole_at) < _MOST_KEYS else None


class MailLimit:
    """Limits requests that send mails: per address, and per network of the caller, whatever their outcome."""

    def __init__(self, rate: Rate) -> None:
        self._limit = RequestLimit("mail", rate)

    def hit(self, client: str, address: str | None = None) -> None:
        """Count one; raises `TooMany`. `address` is None for a mail token, whose owner is unknown."""
        now = time.monotonic()
        try:
            self._limit.hit(("network", network_of(client)), now)
            if address is not None:
                self._limit.hit(("address", address), now)
        except LimitReached as reached:
            # Not as itself: `RateLimit` tells of requests, and this is another limit.
            raise TooMany(
                reached.retry_after_s, "Too many mails asked for, or tokens from mails tried; come back later."
            ) from None


class RegistrationLimit:
    """Registrations per network of the caller, also those that fail."""

    def __init__(self, rate: Rate) -> None:
        self._limit = RequestLimit("registration", rate)

    def hit(self, client: str) -> None:
        """Count one; raises `TooMany`."""
        try:
            self._limit.hit(network_of(client), time.monotonic())
        except LimitReached as reached:
            raise TooMany(reached.retry_after_s, "Too many registrations from this network; come back later.") from None
