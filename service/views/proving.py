"""Views that ask somebody who is signed in for the password again, and for a code."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from service.keys import CONTEXT, LOGIN_LIMIT
from service.views.base import View


class ProvingView(View):
    """A stolen token must not try passwords and codes faster than a login may."""

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """Wrap one look at them: what is wrong counts as a failed login. Raises `TooMany`."""
        limit = self.request.app[LOGIN_LIMIT]
        return limit.attempt(self.caller.id, self.request[CONTEXT].client) if limit else nullcontext()

    async def proven(self) -> None:
        """Forget what the caller failed before: the password was looked at and was right, and so was the code where one is
        asked for."""
        limit = self.request.app[LOGIN_LIMIT]
        if limit is not None:
            await limit.entered(self.caller.id, self.request[CONTEXT].client)
