"""The port of the counters of failed logins."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

Kind = Literal["account", "network", "site", "pair"]


class ThrottleKey(NamedTuple):
    """The key of a counter: an account, a network, its IPv6 site (/48), or account and network together."""

    kind: Kind
    name: str


class MustWait(Exception):
    """`seconds`: until the next attempt for one of these keys."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class FailureCounters(Protocol):
    """Failed attempts by key, by the rules of a `Backoff`, in bounded memory.

    An implementation for several processes checks and counts in one step, and forgets attempts whose process
    has died.
    """

    def attempt(self, *keys: ThrottleKey) -> AbstractAsyncContextManager[None]:
        """Wrap one look at a password. Raises `MustWait` before it if one of the keys has to, and then nothing is counted.

        `InvalidCredentials` or `WrongPassword` out of it is a failure of all of them; any other end is none. Until then
        it counts as one: a hundred at once get no further than a hundred in a row. Cancelling is safe.
        """

    async def forgive(self, key: ThrottleKey) -> None:
        """Forget what has failed; attempts under way go on counting."""

    async def trust(self, key: ThrottleKey) -> None:
        """Trust the key for a window: its owner has proved to be there."""

    async def is_vouched(self, key: ThrottleKey) -> bool: ...
