"""The tokens of a session, as they are handed out."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from service.domain.auth import scopes
from service.domain.auth.login import LoggedIn
from service.domain.auth.sessions import Origin
from service.http.operations import Reply
from service.http.services import CONTEXT, SERVICES
from service.http.view import NO_STORE, json_response
from service.schemas.auth import SessionTokens
from service.security import session_secrets

TOKENS_REPLY: Final = Reply("The session's tokens.", SessionTokens, headers=("Cache-Control",))


def tokens_answer(request: web.Request, logged_in: LoggedIn) -> web.Response:
    tokens = request.app[SERVICES].access_tokens
    session = logged_in.session
    request[CONTEXT].authenticated_user = str(logged_in.user.id)
    answer = SessionTokens(
        access_token=tokens.issue(logged_in.user.id, session.id, scopes.written(scopes.of(logged_in.user.role))),
        expires_in=tokens.ttl_s,
        refresh_token=session_secrets.issue(session, "refresh"),
        session_id=session.id,
    )
    return json_response(answer.model_dump_json().encode(), headers=NO_STORE)


def origin_of(request: web.Request) -> Origin:
    """Where they are handed out to."""
    return Origin.of(request[CONTEXT].client, request.headers.get(hdrs.USER_AGENT, ""))
