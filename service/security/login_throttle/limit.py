"""The limits of failed logins: they slow down guessing, and do not lock out the owner of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from service.domain.auth.sessions import Session
from service.domain.errors import TooManyFailures
from service.security.login_throttle.failure_counters import FailureCounters, MustWait, ThrottleKey
from service.security.networks import network_of

SITE_BITS: Final = 48
SITE_FACTOR: Final = 16  # a /48 may be a company, or one customer with 65,536 networks


class LoginLimit:
    """Failed looks at a password: what strangers fail is counted for the account and for their network.

    Failures from IPv6 count for the /48 as well, of which `SITE_FACTOR` times as many are free.

    A network is known for an account that has a live session last refreshed from it, or whose password was reset from it in
    this window. There, neither of the two counts refuses anything: failures are counted for the pair of both, on
    the same terms, so that guessing from inside is bounded too. A network is looked up only before a refusal;
    until then every network is unknown.

    A success clears the count of its pair and nothing else: an attacker with one account cannot use it to continue guessing
    at others.

    Args:
        sessions: the live sessions of an account.
    """

    def __init__(self, failures: FailureCounters, sessions: Callable[[UUID], Awaitable[Sequence[Session]]]) -> None:
        self._failures = failures
        self._sessions = sessions

    @asynccontextmanager
    async def attempt(self, account: UUID | str, client: str) -> AsyncIterator[None]:
        """Wrap one look at a password; raises `TooMany` before it, with the time until the next. Cancelling is free.

        Args:
            account: its id; where there is none, the login that was tried: both are treated alike.
            client: address.
        """
        network = network_of(client)
        pair = _pair(account, network)
        async with AsyncExitStack() as attempt:
            try:
                keys = [ThrottleKey("account", str(account)), ThrottleKey("network", network)]
                if ":" in network:
                    keys.append(ThrottleKey("site", network_of(client, SITE_BITS)))
                strangers = self._failures.attempt(*keys)
                await attempt.enter_async_context(strangers)
            except MustWait as stranger:
                if not await self._is_known(account, network, pair):
                    raise _too_many(stranger) from None
                try:
                    await attempt.enter_async_context(self._failures.attempt(pair))
                except MustWait as known:
                    raise _too_many(known) from None
            yield

    async def entered(self, account: UUID, client: str) -> None:
        """A password was looked at and was right.

        To be said, not taken from an attempt that ended well: that may never have looked at one, as a change of a name that
        Call it explicitly: an attempt that ended well may never have checked a password, as a change of a name that
        comes with a password, and a stolen token could reset the count by it.
        """
        await self._failures.forgive(_pair(account, network_of(client)))

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        """Let the owner log in again, who has proved to read the mail of the account.

        Args:
            forgive: whether to clear the failures as well. Not if a code is required: a thief who reads the mails could
                get new tries at the code as often as they like.
        """
        pair = _pair(account, network_of(client))
        if forgive:
            await self._failures.forgive(ThrottleKey("account", str(account)))
            await self._failures.forgive(pair)
        # An attacker that continues closes the account again at once, and the reset has revoked the sessions.
        await self._failures.trust(pair)

    async def _is_known(self, account: UUID | str, network: str, pair: ThrottleKey) -> bool:
        # An unknown id costs the same look-up: the time must not reveal whether the account exists.
        sessions = await self._sessions(account if isinstance(account, UUID) else uuid4())
        clients = {session.origin.client for session in sessions}
        vouched = await self._failures.is_vouched(pair)
        return vouched or any(client is not None and network_of(client) == network for client in clients)


def _pair(account: UUID | str, network: str) -> ThrottleKey:
    return ThrottleKey("pair", f"{account} {network}")


def _too_many(wait: MustWait) -> TooManyFailures:
    return TooManyFailures(max(1.0, wait.seconds), "Too many failed logins; come back later.")
