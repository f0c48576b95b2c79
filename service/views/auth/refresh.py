"""Staying in: new tokens of a session for its newest one."""

from __future__ import annotations

import logging
from datetime import timedelta

from aiohttp import web

from service.domain.auth import login
from service.domain.auth.login import LoggedIn
from service.domain.errors import InvalidGrant, RefreshTokenReused, Unavailable
from service.http import problems
from service.http.operations import Access, Operation, operation
from service.http.services import CONTEXT
from service.http.view import View
from service.schemas.auth import Refresh
from service.security import session_secrets
from service.views.auth.session_tokens import TOKENS_REPLY, origin_of, tokens_answer

log = logging.getLogger("roster.auth")


class RefreshView(View):
    @operation(
        Operation(
            id="refresh_tokens",
            summary="Refresh the tokens",
            description=(
                "Each refresh token is used once. For ten seconds, or until its successor is used, its predecessor "
                "returns the same successor: two tabs, or a lost response, do no harm. An older token was copied, so it revokes "
                "the session. A session also ends when it is not refreshed for `ROSTER_SESSION_IDLE_TIMEOUT_S`, and "
                "`ROSTER_SESSION_TTL_S` after its login."
            ),
            tag="auth",
            access=Access.PUBLIC,
            writes=True,
            body=Refresh,
            replies={200: TOKENS_REPLY},
            refusals=(problems.INVALID_GRANT,),
        )
    )
    async def post(self) -> web.Response:
        body = await self.body(Refresh)
        return tokens_answer(self.request, await self.write(self._renew(body.refresh_token), "refresh"))

    async def _renew(self, text: str) -> LoggedIn:
        """Refresh, count, and tell of a token that came back: also where the client has gone away."""
        services, context = self.services, self.request[CONTEXT]
        results = services.metrics.refreshes
        try:
            grant = session_secrets.parse(text)
            if grant is None:
                raise InvalidGrant()
            renewed = await login.refresh(
                services.store,
                services.steady_clock,
                self.by,
                grant.session_id,
                grant.generation,
                lambda session: grant.authentic("refresh", session),
                idle=timedelta(seconds=services.settings.session_idle_timeout_s),
                origin=origin_of(self.request),
            )
        except RefreshTokenReused as error:
            results.labels("reused").inc()
            ended = {"user": str(error.user_id), "session": str(error.session_id)}
            extra = ended | {"client": context.client, "request_id": context.request_id}
            log.warning("refresh token reused; its session was revoked", extra=extra)
            raise
        except (InvalidGrant, Unavailable) as error:
            results.labels(problems.find_problem_type(error).code).inc()
            raise
        results.labels("ok").inc()
        return renewed
