"""The sessions of a user: list and revoke them."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from service.domain.auth import login
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.path_ids import id_in_path
from service.http.view import NO_STORE, View, json_response
from service.schemas.auth import SessionAnswer, SessionList
from service.security.stream_cookies import cookie_name

_TAG: Final = "auth"


class LogoutView(View):
    @operation(
        Operation(
            id="log_out",
            summary="Log out",
            description="Ends this session: its access and refresh tokens, and its open streams. Deletes its stream cookie.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={204: Reply("The session has ended.", headers=("Cache-Control",))},
        )
    )
    async def post(self) -> web.Response:
        services, principal = self.services, self.principal
        leaving = login.log_out(services.store, services.clock, self.by, principal.caller.id, principal.session_id)
        await self.write(leaving, "log out")
        answer = web.Response(status=204, headers=NO_STORE)
        answer.del_cookie(cookie_name(principal.session_id), path="/v1")
        return answer


class SessionsView(View):
    @operation(
        Operation(
            id="list_sessions",
            summary="List your sessions",
            description="Where you are logged in. Each login is a session; the hundred newest are kept.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            replies={200: Reply("Your sessions, the oldest first.", SessionList, headers=("Cache-Control",))},
        )
    )
    async def get(self) -> web.Response:
        sessions = await self.services.store.sessions.list_of_user(self.caller.id)
        items = [SessionAnswer.of(session, self.principal.session_id) for session in sessions]
        return json_response(SessionList(items=items).model_dump_json().encode(), headers=NO_STORE)

    @operation(
        Operation(
            id="end_other_sessions",
            summary="End all your other sessions",
            description="Log out everywhere else: their access and refresh tokens end, and their open streams.",
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={204: Reply("This session is the only one.", headers=("Cache-Control",))},
        )
    )
    async def delete(self) -> web.Response:
        services, principal = self.services, self.principal
        ending = login.end_others(services.store, services.clock, self.by, principal.caller.id, principal.session_id)
        await self.write(ending, "end other sessions")
        return web.Response(status=204, headers=NO_STORE)


class SessionView(View):
    @operation(
        Operation(
            id="end_session",
            summary="End a session",
            description=(
                "One of your own; an administrator may end any session. Another user's session is 404. Its access and "
                "refresh tokens are revoked, and its open streams end."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={204: Reply("The session has ended.", headers=("Cache-Control",))},
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def delete(self) -> web.Response:
        services = self.services
        ending = login.revoke(services.store, services.clock, self.by, self.caller, id_in_path(self.request))
        await self.write(ending, "end session")
        return web.Response(status=204, headers=NO_STORE)
