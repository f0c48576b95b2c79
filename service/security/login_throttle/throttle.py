"""The login throttle: it wraps every check of a password or code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from uuid import UUID

from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.login_throttle.limit import LoginLimit


class LoginThrottle:
    """Delays failures and records them.

    Args:
        limit: None where it is lifted.
    """

    def __init__(self, limit: LoginLimit | None, failed_logins: FailedLoginAudit) -> None:
        self._limit = limit
        self._failed_logins = failed_logins

    @asynccontextmanager
    async def attempt(self, account: UUID | str, client: str) -> AsyncIterator[None]:
        """Wrap one look; as `LoginLimit.attempt`."""
        async with (
            self._failed_logins.watch(account if isinstance(account, UUID) else None, client),
            self._limit.attempt(account, client) if self._limit else nullcontext(),
        ):
            yield

    async def entered(self, account: UUID, client: str) -> None:
        """Forget what failed here before: the password was looked at and was right, and so was the code where one is asked
        for."""
        if self._limit is not None:
            await self._limit.entered(account, client)

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        """As `LoginLimit.reopen`."""
        if self._limit is not None:
            await self._limit.reopen(account, client, forgive=forgive)
