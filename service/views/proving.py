"""Views that ask somebody who is signed in for the password again, and for a code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from service.keys import CONTEXT, FAILED_LOGINS, LOGIN_LIMIT
from service.views.base import View


class ProvingView(View):
    """A stolen token must not try passwords and codes faster than a login may."""

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Wrap one look at them: what is wrong counts as a failed login, and is told. Raises `TooMany`."""
        app, user_id, client = self.request.app, self.caller.id, self.request[CONTEXT].client
        limit = app[LOGIN_LIMIT]
        async with (
            app[FAILED_LOGINS].watch(user_id, client),
            limit.attempt(user_id, client) if limit else nullcontext(),
        ):
            yield

    async def proven(self) -> None:
        """Forget what the caller failed before: the password was looked at and was right, and so was the code where one is
        asked for."""
        limit = self.request.app[LOGIN_LIMIT]
        if limit is not None:
            await limit.entered(self.caller.id, self.request[CONTEXT].client)
