"""Views that look at a password or a code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from service.http.services import CONTEXT
from service.http.view import View

T = TypeVar("T")


async def throttled(
    view: View,
    account: UUID | str,
    work: Coroutine[Any, Any, T],
    name: str,
    then: Callable[[], Awaitable[None]] | None = None,
) -> T:
    """Carry out a write that looks at one: what is wrong counts as a failed login. Raises `TooMany` before it begins.

    It counts also where the client goes away before it hears of it: a guess that costs nothing may be repeated for ever.

    Args:
        account: its id; where there is none, the login that was tried.
        then: what follows where all was right, whether the client waits for it or not.
    """
    guard, client = view.services.login_throttle, view.request[CONTEXT].client

    async def attempt() -> T:
        try:
            async with guard.attempt(account, client):
                done = await work
        finally:
            work.close()  # where it was refused it has not begun
        if then is not None:
            await then()
        return done

    return await view.write(attempt(), name)


class ReauthView(View):
    """Views that verify the password or a code again. The login throttle applies, as for a stolen access token it must."""

    async def throttled(self, work: Coroutine[Any, Any, T], name: str, *, proves: bool = True) -> T:
        """As `throttled`, for the caller.

        Args:
            proves: whether `work` does not end well unless it has looked at the password, and at the code where there is a
                second factor: then what failed before is forgotten.
        """
        guard, user_id, client = self.services.login_throttle, self.caller.id, self.request[CONTEXT].client
        return await throttled(self, user_id, work, name, (lambda: guard.entered(user_id, client)) if proves else None)
