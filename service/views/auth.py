"""Registering, logging in, staying in and leaving."""

from __future__ import annotations

import base64
import binascii
import logging
from datetime import timedelta

from aiohttp import hdrs, web

from service import problems
from service.domain import accounts, logins, registrations, scopes
from service.domain.accounts import NewUser
from service.domain.errors import (
    BadRequest,
    GrantReused,
    InvalidCredentials,
    InvalidGrant,
    OtpRequired,
    RegistrationClosed,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from service.domain.logins import LoggedIn
from service.domain.passwords import refuse_common
from service.domain.sessions import Origin
from service.keys import (
    AUTHENTICATOR,
    CLOCK,
    CONTEXT,
    GUARD,
    METRICS,
    POSTBOX,
    SETTINGS,
    STORE,
    TOKENS,
)
from service.middleware.auth import STREAM_COOKIE
from service.operations import Access, Operation, Reply, operation
from service.schemas.auth import Accepted, Login, Refresh, Ticket, Tokens
from service.schemas.fields import spelled_login
from service.schemas.users import Registration, UserAnswer
from service.security import grants
from service.security.authenticator import TICKET_TTL
from service.views.base import NO_STORE, View, json_answer
from service.views.mailed import accepted, count
from service.views.proving import guarded
from service.views.users import created

_TAG = "auth"
_TOKENS = Reply("The session's tokens.", Tokens, headers=("Cache-Control",))

log = logging.getLogger("roster.auth")


class Register(View):
    @operation(
        Operation(
            id="register",
            summary="Register an account",
            description=(
                "Makes an account with the role `member`. `ROSTER_REGISTRATION=closed` answers 403. `verify` answers 202 "
                "whatever it finds, after the same time: a mail tells the owner of the address how to go on."
            ),
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=Registration,
            body_examples={
                "ada": {
                    "username": "ada",
                    "email": "ada@example.com",
                    "name": "Ada Lovelace",
                    "password": "correct horse battery staple",
                }
            },
            replies={
                201: Reply("The account that was made.", UserAnswer, headers=("Location", "ETag", "Roster-Position")),
                202: Reply("The address will be asked.", Accepted, headers=("Cache-Control",)),
            },
            refusals=(problems.FORBIDDEN, problems.TAKEN),
        )
    )
    async def post(self) -> web.Response:
        app = self.request.app
        mode = app[SETTINGS].registration
        if mode == "closed":
            raise RegistrationClosed()
        new = NewUser(**(await self.body(Registration)).model_dump())
        if mode == "verify":
            return await self._ask_address(new, new.password or "")
        registration = accounts.create(app[STORE], self.hasher, app[CLOCK], self.by, new, None)
        return created(await self.write(registration, "register"))

    async def _ask_address(self, new: NewUser, password: str) -> web.Response:
        """Do all that takes time, and is the same for every address; the rest happens behind the answer."""
        app = self.request.app
        count(self, new.email)
        refuse_common(password, new.username, new.email, new.name)
        password_hash = await self.hasher.hash(password)
        ttl = timedelta(seconds=app[SETTINGS].verify_ttl_s)
        registration = registrations.register(app[STORE], app[CLOCK], self.by, new, password_hash, ttl)
        app[POSTBOX].later(registration, "register")
        return accepted()


class LogIn(View):
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
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=Login,
            body_required=False,
            body_examples={"ada": {"login": "ada", "password": "correct horse battery staple"}},
            replies={200: _TOKENS},
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
            login = await self.body(Login)
        else:
            raise Unauthenticated("Send `login` and `password` as JSON, or `Authorization: Basic`.")
        app = self.request.app
        attempts, client = app[METRICS].logins, self.request[CONTEXT].client
        spelled = spelled_login(login.login)
        known = await app[STORE].credentials(spelled)

        async def enter() -> LoggedIn:
            entered = await logins.log_in(
                app[STORE],
                self.hasher,
                app[CLOCK],
                self.by,
                login=spelled,
                password=login.password,
                ttl=timedelta(seconds=app[SETTINGS].refresh_ttl_s),
                idle=timedelta(seconds=app[SETTINGS].session_idle_s),
                origin=_origin(self.request),
                otp=login.otp,
            )
            await app[GUARD].entered(entered.user.id, client)
            if login.otp is not None:
                app[POSTBOX].ring()  # it may have been a recovery code
            return entered

        # By whichever name it is tried, it is one account.
        account = spelled if known is None else known.user.id
        try:
            entered = await guarded(self, account, enter(), "log in")
        except (InvalidCredentials, OtpRequired, TooMany, Unavailable) as error:
            attempts.labels(problems.kind_of(error).code).inc()
            raise
        attempts.labels("ok").inc()
        return _tokens(self.request, entered)


class RefreshTokens(View):
    @operation(
        Operation(
            id="refresh_tokens",
            summary="Refresh the tokens",
            description=(
                "Each refresh token is used once. For ten seconds, or until its successor is used, its predecessor still "
                "gets that same successor: two tabs, or an answer that got lost, do no harm. An older one was copied by "
                "somebody, and ends the whole session. A session that is not refreshed for `ROSTER_SESSION_IDLE_S` ends, and "
                "each `ROSTER_REFRESH_TTL_S` after its login."
            ),
            tag=_TAG,
            access=Access.PUBLIC,
            writes=True,
            body=Refresh,
            replies={200: _TOKENS},
            refusals=(problems.INVALID_GRANT,),
        )
    )
    async def post(self) -> web.Response:
        body = await self.body(Refresh)
        return _tokens(self.request, await self.write(self._renew(body.refresh_token), "refresh"))

    async def _renew(self, text: str) -> LoggedIn:
        """Refresh, count, and tell of a token that came back: also where the client has gone away."""
        app, context = self.request.app, self.request[CONTEXT]
        results = app[METRICS].refreshes
        try:
            grant = grants.parse(text)
            if grant is None:
                raise InvalidGrant()
            renewed = await logins.refresh(
                app[STORE],
                app[CLOCK],
                self.by,
                grant.session_id,
                grant.generation,
                lambda session: grant.authentic("refresh", session),
                idle=timedelta(seconds=app[SETTINGS].session_idle_s),
                origin=_origin(self.request),
            )
        except GrantReused as error:
            results.labels("reused").inc()
            ended = {"user": str(error.user_id), "session": str(error.session_id)}
            extra = ended | {"client": context.client, "request_id": context.request_id}
            log.warning("a refresh token came back after it was used up: its session has ended", extra=extra)
            raise
        except (InvalidGrant, Unavailable) as error:
            results.labels(problems.kind_of(error).code).inc()
            raise
        results.labels("ok").inc()
        return renewed


class LogOut(View):
    @operation(
        Operation(
            id="log_out",
            summary="Log out",
            description="Ends this session: its access and refresh tokens, and its open streams.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={204: Reply("The session has ended.", headers=("Cache-Control",))},
        )
    )
    async def post(self) -> web.Response:
        app, principal = self.request.app, self.principal
        leaving = logins.log_out(app[STORE], app[CLOCK], self.by, principal.caller.id, principal.session_id)
        await self.write(leaving, "log out")
        answer = web.Response(status=204, headers=NO_STORE)
        answer.del_cookie(STREAM_COOKIE, path="/v1")
        return answer


class MakeTicket(View):
    @operation(
        Operation(
            id="create_ticket",
            summary="Get a ticket for a stream",
            description=(
                "For browsers, whose EventSource and WebSocket send no `Authorization`. The ticket opens one stream; the "
                "cookie that comes with it lets the same page come back to it while the session lives."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={200: Reply("A ticket.", Ticket, headers=("Set-Cookie", "Cache-Control"))},
        )
    )
    async def post(self) -> web.Response:
        app = self.request.app
        ticket, cookie = await app[AUTHENTICATOR].make_ticket(self.principal.session_id)
        body = Ticket(ticket=ticket, expires_in=int(TICKET_TTL.total_seconds()))
        answer = json_answer(body.model_dump_json().encode(), headers=NO_STORE)
        answer.set_cookie(
            STREAM_COOKIE,
            cookie,
            path="/v1",
            httponly=True,
            samesite="Strict",
            secure=app[SETTINGS].public_url.startswith("https:") or None,
            max_age=app[SETTINGS].refresh_ttl_s,
        )
        return answer


def _basic(encoded: str) -> Login:
    """The login that `Authorization: Basic` carries (RFC 7617), in UTF-8."""
    try:
        login, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        colon = login = password = ""
    if not colon:
        raise BadRequest("Send `Authorization: Basic` with base64 of login:password in UTF-8, or a JSON body.")
    if not login or not password or len(login) > 254 or len(password) > 1024:
        raise InvalidCredentials()
    return Login.model_construct(login=login, password=password)


def _origin(request: web.Request) -> Origin:
    return Origin.of(request[CONTEXT].client, request.headers.get(hdrs.USER_AGENT, ""))


def _tokens(request: web.Request, entered: LoggedIn) -> web.Response:
    tokens = request.app[TOKENS]
    session = entered.session
    request[CONTEXT].entered = str(entered.user.id)
    answer = Tokens(
        access_token=tokens.issue(entered.user.id, session.id, scopes.written(scopes.of(entered.user.role))),
        expires_in=tokens.ttl_s,
        refresh_token=grants.issue(session, "refresh"),
        session_id=session.id,
    )
    return json_answer(answer.model_dump_json().encode(), headers=NO_STORE)
