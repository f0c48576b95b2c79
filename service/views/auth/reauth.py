"""Views that verify a password or a code of a signed-in user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.domain.auth.login_throttle import run_throttled
from service.http.services import CONTEXT
from service.http.view import View

T = TypeVar("T")


class ReauthView(View):
    """Views that verify the password or a code again. The login throttle applies, as for a stolen access token it must."""

    async def throttled(self, work: Callable[[], Awaitable[T]], name: str, *, proves: bool = True) -> T:
        """Run a write as one attempt of the caller, as `run_throttled`. Raises `TooManyFailures` before it begins.

        The attempt counts even if the client disconnects before the response.

        Args:
            work: must use a hasher that was read from the view before this call: then `write` drops its jobs when the client
                disconnects.
        """
        throttle, client = self.services.login_throttle, self.request[CONTEXT].client
        return await self.write(run_throttled(throttle, self.caller.id, client, work, proves=proves), name)
