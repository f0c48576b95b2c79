"""Who may try a password now: guessing is slowed down, and the owner of an account is not kept out by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from service.domain.auth.sessions import Session
from service.domain.errors import TooManyFailures
from service.security.login_throttle.counts import FailureCounters, MustWait, ThrottleKey
from service.security.networks import network_of

SITE_BITS: Final = 48
SITE_FACTOR: Final = 16  # a /48 may be a company, or one customer with 65,536 networks


class LoginLimit:
    """Failed looks at a password: what strangers fail is counted for the account and for their network.

    Failures from IPv6 count for the /48 as well, of which `SITE_FACTOR` times as many are free.

    A network is known for an account that has a live session last refreshed from it, or whose password was reset from it in
    this window. There, neither of the two counts refuses anything: failures are counted for the pair of both, on
    the same terms, so that a guess from inside is bounded too. Who is known is looked up only where somebody would be refused;
    until then everybody is a stranger.

    A success clears the count of its pair and nothing else: whoever has one account cannot use it to go on guessing
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
        comes with a password, and a stolen token could begin anew by it.
        """
        await self._failures.forgive(_pair(account, network_of(client)))

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        """Let the owner in again, who has shown by what was mailed to the address of the account to be there.

        Args:
            forgive: whether that clears what has failed as well. Not where a code is asked for: whoever reads the mails could
                have new guesses at it as often as they like.
        """
        pair = _pair(account, network_of(client))
        if forgive:
            await self._failures.forgive(ThrottleKey("account", str(account)))
            await self._failures.forgive(pair)
        # Whoever keeps on guessing closes the account again at once, and the reset has ended the sessions.
        await self._failures.trust(pair)

    async def _is_known(self, account: UUID | str, network: str, pair: ThrottleKey) -> bool:
        # An id that nobody has costs the same look: time must not tell whether the account is there.
        sessions = await self._sessions(account if isinstance(account, UUID) else uuid4())
        clients = {session.origin.client for session in sessions}
        vouched = await self._failures.is_vouched(pair)
        return vouched or any(client is not None and network_of(client) == network for client in clients)


def _pair(account: UUID | str, network: str) -> ThrottleKey:
    return ThrottleKey("pair", f"{account} {network}")


def _too_many(wait: MustWait) -> TooManyFailures:
    return TooManyFailures(max(1.0, wait.seconds), "Too many failed logins; come back later.")
