"""The login throttle, as the use cases see it: it bounds how often a password or code may be guessed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar
from uuid import UUID

from service.domain.errors import DomainError, FailureKind

T = TypeVar("T")


class Attempt(Protocol):
    """One check of a password or code. Until it ends it counts as a failure: a hundred at once get no further than a hundred
    in a row. Without a call of either method it ends as if it had not been.
    """

    def failed(self, kind: FailureKind) -> None:
        """Count the attempt as a failure when it ends."""

    def succeeded(self) -> None:
        """Clear the failures of this account in this network when the attempt ends, and no others.

        An attempt that ended without an error has not always succeeded: a change of a name that comes with a password checks
        no password, and a stolen access token could clear its own failures by it.
        """


class LoginThrottle(Protocol):
    """Delays attempts after failures, and records the failures for the audit."""

    def admit(self, account: UUID | str, client: str) -> AbstractAsyncContextManager[Attempt]:
        """Wrap one check. Raises `TooManyFailures` before it, with the time until the next; then nothing is counted.

        Cancelling is safe: a cancelled attempt is no failure.

        Args:
            account: its id; for an unknown account the login that the client sent. Both take the same time.
            client: IP address.
        """

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        """Let the owner log in again from this network, after a token from the owner's mail proved access to that mail.

        Args:
            forgive: whether to clear the failures as well. Not if a code is required: a thief who reads the mails could
                get new tries at the code as often as they like.
        """


async def run_throttled(
    throttle: LoginThrottle, account: UUID | str, client: str, work: Callable[[], Awaitable[T]], *, proves: bool = True
) -> T:
    """Run `work` as one attempt. An error with a `failure_kind` counts as a failure; any other counts as nothing.

    Run it in a task that outlives the client's connection: a guess that costs nothing could be repeated for ever.

    Args:
        work: not called if the throttle refuses the attempt.
        proves: whether `work` can return only after it checked the password, and the code if the account has a second
            factor. Only then its return counts as a success.
    """
    async with throttle.admit(account, client) as attempt:
        try:
            result = await work()
        except DomainError as error:
            if error.failure_kind is not None:
                attempt.failed(error.failure_kind)
            raise
        if proves:
            attempt.succeeded()
        return result
