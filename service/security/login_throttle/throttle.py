"""The login throttle: it slows down guessing, and does not lock out the owner of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from service.domain.auth.sessions import Session
from service.domain.errors import FailureKind, TooManyFailures
from service.security.login_throttle.counters import FailureCounters, ThrottleKey
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.networks import network_of

SITE_BITS: Final = 48
SITE_FACTOR: Final = 16  # a /48 may be a company, or one customer with 65,536 networks

Keys = Sequence[ThrottleKey]


class FailureThrottle:
    """Implements `LoginThrottle`: failures of strangers are counted for the account and for their network.

    Failures from IPv6 count for the /48 as well, of which `SITE_FACTOR` times as many are free.

    A network is known for an account that has a live session last refreshed from it, or whose password was reset from it in
    this window. There, neither of the two counts refuses anything: failures are counted for the pair of both, on
    the same terms, so that guessing from inside is bounded too. A network is looked up only before a refusal;
    until then every network is unknown.

    A success clears the count of its pair and nothing else: an attacker with one account cannot use it to continue guessing
    at others.

    Args:
        counters: None if failures are not limited; they are recorded all the same.
        sessions: lists the live sessions of an account.
        failed_logins: records failures and refused attempts for the audit.
        report_waits: called if waits begin, with the keys of the attempt and the keys that wait.
    """

    def __init__(
        self,
        counters: FailureCounters | None,
        sessions: Callable[[UUID], Awaitable[Sequence[Session]]],
        failed_logins: FailedLoginAudit,
        report_waits: Callable[[Keys, Keys], None],
    ) -> None:
        self._counters = counters
        self._sessions = sessions
        self._failed_logins = failed_logins
        self._report_waits = report_waits

    @asynccontextmanager
    async def admit(self, account: UUID | str, client: str) -> AsyncIterator[_Attempt]:
        attempt = _Attempt()
        user_id = account if isinstance(account, UUID) else None
        try:
            if self._counters is None:
                yield attempt
                return
            asked, counted = await self._begin(self._counters, account, client)
            try:
                yield attempt
            finally:
                waits = await self._counters.end(counted, failed=attempt.failure is not None)
                if waits:
                    self._report_waits(asked, waits)
                if attempt.has_succeeded:
                    await self._counters.forgive(_pair(account, network_of(client)))
        except TooManyFailures:
            self._failed_logins.count_refused(user_id, client)
            raise
        finally:
            if attempt.failure is not None:
                self._failed_logins.count_failed(user_id, client, attempt.failure)

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        if self._counters is None:
            return
        pair = _pair(account, network_of(client))
        if forgive:
            await self._counters.forgive(ThrottleKey("account", str(account)))
            await self._counters.forgive(pair)
        # An attacker that continues closes the account again at once, and the reset has revoked the sessions.
        await self._counters.trust(pair)

    async def _begin(self, counters: FailureCounters, account: UUID | str, client: str) -> tuple[Keys, Keys]:
        """The keys of the attempt, and those under which the counters count it. Raises `TooManyFailures`."""
        network = network_of(client)
        asked = [ThrottleKey("account", str(account)), ThrottleKey("network", network)]
        if ":" in network:
            asked.append(ThrottleKey("site", network_of(client, SITE_BITS)))
        begun = await counters.begin(*asked)
        if begun.wait_s > 0:
            pair = _pair(account, network)
            if await self._is_known(counters, account, network, pair):
                asked = [pair]
                begun = await counters.begin(pair)
        if begun.wait_s > 0:
            raise TooManyFailures(max(1.0, begun.wait_s), "Too many failed logins; come back later.")
        return asked, begun.keys

    async def _is_known(self, counters: FailureCounters, account: UUID | str, network: str, pair: ThrottleKey) -> bool:
        # An unknown id costs the same look-up: the time must not reveal whether the account exists.
        sessions = await self._sessions(account if isinstance(account, UUID) else uuid4())
        clients = {session.origin.client for session in sessions}
        trusted = await counters.is_trusted(pair)
        return trusted or any(client is not None and network_of(client) == network for client in clients)


class _Attempt:
    def __init__(self) -> None:
        self.failure: FailureKind | None = None
        self.has_succeeded = False

    def failed(self, kind: FailureKind) -> None:
        self.failure = kind

    def succeeded(self) -> None:
        self.has_succeeded = True


def _pair(account: UUID | str, network: str) -> ThrottleKey:
    return ThrottleKey("pair", f"{account} {network}")
