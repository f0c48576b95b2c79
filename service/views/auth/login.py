"""Logging in."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta

from aiohttp import hdrs, web

from service.domain.auth.login import LoginCommand, Logins, LoginSource
from service.domain.errors import BadRequest, DomainError, InvalidCredentials, Unauthenticated
from service.http import problems
from service.http.operations import Access, Operation, operation
from service.http.services import CONTEXT
from service.http.view import View
from service.schemas.auth import LoginRequest
from service.schemas.fields import spelled_login
from service.views.auth.session_tokens import TOKENS_REPLY, origin_of, tokens_answer


class LoginView(View):
    @operation(
        Operation(
            id="log_in",
            summary="Log in",
            description=(
                "With a JSON body, or with `Authorization: Basic` and no body. A wrong login and a wrong password "
                "answer the same, after the same time. Failures are limited per account and network, with waits that grow; "
                "strangers do not keep the owner of an account from logging in where a session of theirs is. Where the account "
                "has a second factor, the right password without its code answers `otp-required`, which is no failure; send "
                "all of it again with `otp`. A wrong code is one."
            ),
            tag="auth",
            access=Access.PUBLIC,
            writes=True,
            body=LoginRequest,
            body_required=False,
            body_examples={"ada": {"login": "ada", "password": "correct horse battery staple"}},
            replies={200: TOKENS_REPLY},
            refusals=(
                problems.UNAUTHENTICATED,
                problems.INVALID_CREDENTIALS,
                problems.OTP_REQUIRED,
                problems.INVALID_OTP,
            ),
        )
    )
    async def post(self) -> web.Response:
        scheme, _, encoded = self.request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        # Another scheme is no login: many a client sends its old access token with everything.
        if scheme.lower() == "basic":
            login = _basic(encoded)
        elif self.request.body_exists:
            login = await self.body(LoginRequest)
        else:
            raise Unauthenticated("Send `login` and `password` as JSON, or `Authorization: Basic`.")
        command = LoginCommand(spelled_login(login.login), login.password, login.otp)
        source = LoginSource(self.request[CONTEXT].client, origin_of(self.request), self.by)
        logged_in = await self.write(self._logins.log_in(command, source), "log in")
        return tokens_answer(self.request, logged_in)

    @property
    def _logins(self) -> Logins:
        services = self.services
        return Logins(
            store=services.store,
            hasher=self.hasher,
            clock=services.clock,
            throttle=services.login_throttle,
            ttl=timedelta(seconds=services.settings.session_ttl_s),
            idle=timedelta(seconds=services.settings.session_idle_timeout_s),
            count=self._count,
            wake_mail=services.mail_worker.wake,
        )

    def _count(self, error: DomainError | None) -> None:
        result = "ok" if error is None else problems.find_problem_type(error).code
        self.services.metrics.logins.labels(result).inc()


def _basic(encoded: str) -> LoginRequest:
    """The login that `Authorization: Basic` carries (RFC 7617), in UTF-8."""
    try:
        login, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        colon = login = password = ""
    if not colon:
        raise BadRequest("Send `Authorization: Basic` with base64 of login:password in UTF-8, or a JSON body.")
    if not login or not password or len(login) > 254 or len(password) > 1024:
        raise InvalidCredentials()
    return LoginRequest.model_construct(login=login, password=password)
