"""The password of the caller."""

from __future__ import annotations

from aiohttp import web

from service.domain.auth import password_change
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import NO_STORE
from service.schemas.auth import PasswordChange
from service.views.auth.reauth import ReauthView


class PasswordView(ReauthView):
    @operation(
        Operation(
            id="change_password",
            summary="Change your password",
            description=(
                "Ends all your other sessions, with their streams. Takes a code as well where you have a second factor. "
                "Wrong tries count as failed logins."
            ),
            tag="auth",
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=PasswordChange,
            replies={204: Reply("The password is set.", headers=("Cache-Control",))},
        )
    )
    async def post(self) -> web.Response:
        services, principal = self.services, self.principal
        body = await self.body(PasswordChange)
        hasher = self.hasher
        await self.throttled(
            lambda: password_change.change(
                services.store,
                hasher,
                services.clock,
                self.by,
                principal.caller.id,
                principal.session_id,
                body.current,
                body.new,
                body.otp,
            ),
            "change a password",
        )
        services.mail_worker.wake()
        return web.Response(status=204, headers=NO_STORE)
