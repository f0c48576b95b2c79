"""Requests for mails, and the use of their tokens."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from service.domain.auth import password_change
from service.domain.auth.reauthentication import reauthenticate
from service.domain.errors import InvalidMailToken
from service.domain.mail.mail import MailTokenRef, parse_token
from service.domain.users import email_change
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.services import CONTEXT
from service.http.view import NO_STORE, View, json_response
from service.schemas.auth import Accepted, AddressChange, Forgotten, PasswordReset, Verification
from service.views.auth.reauth import ReauthView

_TAG = "auth"
_ACCEPTED = Accepted().model_dump_json().encode()


class EmailVerificationView(View):
    @operation(
        Operation(
            id="verify_address",
            summary="Confirm an address",
            description=(
                "With the token from the mail that follows a registration under `ROSTER_REGISTRATION=verify`, together with the "
                "password of the account, which can log in from then on; or with the token from the mail that `POST "
                "/v1/auth/address` requests, and the account has that address. The token of a registration without a "
                "password, or with a common one, answers 422 at `/password` and stays valid, so a page that takes both kinds "
                "of token sends it without a password first."
            ),
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=Verification,
            replies={204: Reply("The address is confirmed.", headers=("Cache-Control",))},
            refusals=(problems.INVALID_MAIL_TOKEN, problems.ALREADY_EXISTS),
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        body = await self.body(Verification)
        presented = _presented(self, body.token)
        confirmation = email_change.confirm(
            services.store, self.hasher, services.clock, self.by, presented, body.password
        )
        await self.write(confirmation, "verify an address")
        services.mail_worker.wake()
        return web.Response(status=204, headers=NO_STORE)


class EmailChangeView(ReauthView):
    @operation(
        Operation(
            id="change_address",
            summary="Move your account to another address",
            description=(
                "A mail to that address carries a token for `POST /v1/auth/verify`; the account has the address from then on, and "
                "the previous address receives a notice. The response does not reveal whether the address has an account. Requires a code "
                "if you have a second factor. Wrong tries count as failed logins."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            body=AddressChange,
            replies={
                202: Reply(
                    "The request is accepted; the response is the same in every case.",
                    Accepted,
                    headers=("Cache-Control",),
                )
            },
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        body = await self.body(AddressChange)
        count(self, body.email)
        user_id, password, pointer = self.caller.id, body.current_password, "/current_password"
        hasher = self.hasher
        proven = await self.throttled(
            lambda: reauthenticate(
                services.store, hasher, services.clock, self.by, user_id, password, body.otp, pointer
            ),
            "verify the password for a new address",
        )
        ttl = timedelta(seconds=services.settings.verify_ttl_s)
        asking = email_change.ask(services.store, services.clock, self.by, user_id, proven, body.email, ttl)
        services.mail_worker.later(asking, "ask an address")
        return accepted()


class ForgottenPasswordView(View):
    @operation(
        Operation(
            id="forgot_password",
            summary="Ask for a new password",
            description=(
                "Where the address has an account that may log in, a mail with a token is sent to it. The answer is the same "
                "and takes the same time for every address."
            ),
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=Forgotten,
            replies={
                202: Reply(
                    "The request is accepted; the response is the same in every case.",
                    Accepted,
                    headers=("Cache-Control",),
                )
            },
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        email = (await self.body(Forgotten)).email
        count(self, email)
        ttl = timedelta(seconds=services.settings.reset_ttl_s)
        services.mail_worker.later(
            password_change.forgot(services.store, services.clock, self.by, email, ttl), "forgot a password"
        )
        return accepted()


class PasswordResetView(View):
    @operation(
        Operation(
            id="reset_password",
            summary="Set a new password with a token",
            description=(
                "With the token from the mail that `POST /v1/auth/forgot` asks for. Ends every session and every API token "
                "of the account. A password that breaks a rule does not use the token up."
            ),
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=PasswordReset,
            replies={
                204: Reply("The password is set; every session and API token has ended.", headers=("Cache-Control",))
            },
            refusals=(problems.INVALID_MAIL_TOKEN,),
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        body = await self.body(PasswordReset)
        presented = _presented(self, body.token)

        async def reset() -> None:
            owner = await password_change.reset(
                services.store, self.hasher, services.clock, self.by, presented, body.password
            )
            client = self.request[CONTEXT].client
            await services.login_throttle.reopen(owner.user.id, client, forgive=not owner.asks_otp)
            services.mail_worker.wake()

        await self.write(reset(), "reset a password")
        return web.Response(status=204, headers=NO_STORE)


def count(view: View, address: str | None = None) -> None:
    """Count a request that leads to a mail, or tries a token; raises `TooMany`."""
    limit = view.services.mail_limit
    if limit is not None:
        limit.hit(view.request[CONTEXT].client, address)


def accepted() -> web.Response:
    """The answer that is the same whatever is found."""
    return json_response(_ACCEPTED, status=202, headers=NO_STORE)


def _presented(view: View, token: str) -> MailTokenRef:
    count(view)
    presented = parse_token(token)
    if presented is None:
        raise InvalidMailToken()
    return presented
