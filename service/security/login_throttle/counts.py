"""Counting failed logins: what whoever counts them has to keep to."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

Kind = Literal["account", "network", "site", "pair"]


class ThrottleKey(NamedTuple):
    """What failures are counted for: an account, a network, the IPv6 site (/48) around it, or account and network together."""

    kind: Kind
    name: str


class MustWait(Exception):
    """`seconds`: until the next attempt for one of these keys."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class FailureCounters(Protocol):
    """Failed attempts by key, on the terms of a `Backoff`, in memory that is bounded however many keys there are.

    Whoever keeps them for several processes looks and counts in one step, and lets an attempt under way whose process
    has died be forgotten.
    """

    def attempt(self, *keys: ThrottleKey) -> AbstractAsyncContextManager[None]:
        """Wrap one look at a password. Raises `MustWait` before it if one of the keys has to, and then nothing is counted.

        `InvalidCredentials` or `WrongPassword` out of it is a failure of all of them; any other end is none. Until then
        it counts as one: a hundred at once get no further than a hundred in a row. Cancelling is safe.
        """

    async def forgive(self, key: ThrottleKey) -> None:
        """Forget what has failed; attempts under way go on counting."""

    async def trust(self, key: ThrottleKey) -> None:
        """Remember for a window that somebody has proved to belong there."""

    async def is_vouched(self, key: ThrottleKey) -> bool: ...
