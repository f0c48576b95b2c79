"""Authentication: the operation of the view names the credentials that it accepts."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable

from aiohttp import hdrs, web

from service.config.secret_values import OPEN_METRICS
from service.domain.auth.scopes import Scope, refusal
from service.domain.errors import BadRequest, Forbidden, InvalidToken, NotFound, Unauthenticated
from service.http.context import Context
from service.http.operations import Access
from service.middleware.step import Step
from service.security.authenticator import Authenticator, Principal
from service.security.origins import is_same_origin
from service.security.stream_cookies import cookie_name_of_ticket

# Looking a member up in its enum costs 0.1 µs.
_PUBLIC, _BEARER, _STREAM, _OPERATOR = Access.PUBLIC, Access.BEARER, Access.STREAM, Access.OPERATOR


def auth(authenticator: Authenticator, public_url: str, metrics_token: str) -> Step:
    """Authenticate the requests whose operation requires credentials."""

    def authenticate(request: web.Request, context: Context) -> Awaitable[None] | None:
        # An unknown path or method needs no credentials: the response is the same with or without a token.
        operation = context.operation
        if operation is None or (access := operation.access) is _PUBLIC:
            return None
        if access is _OPERATOR:
            _check_operator(request, metrics_token)
            return None
        given = request.headers.get(hdrs.AUTHORIZATION)
        if given is not None:
            principal = authenticator.cached(given)
            # A query may hold a ticket: both at once are refused below.
            if principal is not None and (access is _BEARER or not request.query_string):
                context.principal = principal
                if (scope := operation.scope) is not None and scope not in principal.scopes:
                    raise refusal((scope,), principal.caller.role)
                return None
        return find(request, context, operation.scope, streams=access is _STREAM)

    async def find(request: web.Request, context: Context, scope: Scope | None, *, streams: bool) -> None:
        principal = await _principal(request, authenticator, public_url, streams=streams)
        context.principal = principal
        if scope is not None and principal is not None and scope not in principal.scopes:
            raise refusal((scope,), principal.caller.role)

    return authenticate


async def _principal(
    request: web.Request, authenticator: Authenticator, public_url: str, *, streams: bool
) -> Principal | None:
    """The principal of a request; None only for a WebSocket without credentials, which may still send `auth`.

    Raises `Unauthenticated`, and `BadRequest` for credentials in two places (RFC 6750, 2).
    """
    given = request.headers.get(hdrs.AUTHORIZATION)
    ticket = request.query.get("ticket") if streams and request.query_string else None
    if given is not None:
        if ticket is not None:
            raise BadRequest("Send the ticket or the Authorization header, not both.")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated()
        return await authenticator.bearer(token.strip())
    if ticket is not None:
        try:
            return await authenticator.ticket(ticket)
        except Unauthenticated:
            # EventSource reconnects to the same address, with the spent ticket in it. The cookie of the ticket's own session
            # replaces it; that of another session would hand one user's page the stream of another user.
            name = cookie_name_of_ticket(ticket)
            cookie = None if name is None else request.cookies.get(name)
            if name is None or cookie is None:
                raise
        if not is_same_origin(request, public_url):
            raise Forbidden("The stream cookie is only taken from pages of this origin.")
        return await authenticator.cookie(name, cookie)
    if streams and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return None
    raise Unauthenticated()


def _check_operator(request: web.Request, token: str) -> None:
    """Check the token of the metrics. Raises `NotFound` where no token is set.

    Requests from this host need the token too: neither the peer address nor `Host` shows that a proxy forwards a request.
    """
    if not token:
        raise NotFound("Set ROSTER_METRICS_TOKEN to serve the metrics.")
    if token != OPEN_METRICS:
        scheme, _, rest = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else ""
        # aiohttp reads a byte that is not UTF-8 as half a surrogate pair.
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
            raise InvalidToken() if given else Unauthenticated()
