"""The port of the counters of failed logins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

Kind = Literal["account", "network", "site", "pair"]


class ThrottleKey(NamedTuple):
    """The key of a counter: an account, a network, its IPv6 site (/48), or account and network together."""

    kind: Kind
    name: str


class BeginResult(NamedTuple):
    """The answer to an attempt that asks to begin.

    Attributes:
        wait_s: seconds until the next attempt for one of the keys; above 0 the attempt is refused and nothing is counted.
        keys: the keys under which the attempt is counted, for `FailureCounters.end`; empty if it is refused.
    """

    wait_s: float
    keys: Sequence[ThrottleKey]


class FailureCounters(Protocol):
    """Failed attempts by key, by the rules of a `Backoff`, in bounded memory.

    An implementation for several processes checks and counts in one step, and forgets attempts whose process
    has died.
    """

    async def begin(self, *keys: ThrottleKey) -> BeginResult:
        """Count an attempt in progress for each key, unless one of them has to wait.

        An attempt in progress counts as a failure. Call `end` with the returned keys, however the attempt ends.
        """

    async def end(self, keys: Sequence[ThrottleKey], *, failed: bool) -> Sequence[ThrottleKey]:
        """End an attempt; returns the keys for which a wait begins now."""

    async def forgive(self, key: ThrottleKey) -> None:
        """Forget the failures of a key; attempts in progress still count."""

    async def trust(self, key: ThrottleKey) -> None:
        """Trust the key for a window: its owner has proved to be there."""

    async def is_trusted(self, key: ThrottleKey) -> bool: ...
