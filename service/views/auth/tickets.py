"""Tickets: credentials for the streams of browsers."""

from __future__ import annotations

from aiohttp import web

from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import NO_STORE, View, json_response
from service.schemas.auth import IssuedTicket
from service.security.authenticator import TICKET_TTL


class TicketView(View):
    @operation(
        Operation(
            id="create_ticket",
            summary="Get a ticket for a stream",
            description=(
                "For browsers, whose EventSource and WebSocket send no `Authorization`. The ticket opens one stream. The "
                "cookie that comes with it is named after the session: with it a page of this origin reconnects with the spent "
                "ticket while the session lives. Cookies of sessions that have ended are deleted."
            ),
            tag="auth",
            access=Access.BEARER,
            scope="sessions",
            writes=True,
            replies={200: Reply("A ticket.", IssuedTicket, headers=("Set-Cookie", "Cache-Control"))},
        )
    )
    async def post(self) -> web.Response:
        services = self.services
        ticket, cookie = await services.authenticator.make_ticket(self.principal.session_id)
        ended = await services.authenticator.find_ended_cookies(self.request.cookies)
        body = IssuedTicket(ticket=ticket, expires_in=int(TICKET_TTL.total_seconds()))
        answer = json_response(body.model_dump_json().encode(), headers=NO_STORE)
        answer.set_cookie(
            cookie.name,
            cookie.value,
            path="/v1",
            httponly=True,
            samesite="Strict",
            secure=services.settings.public_url.startswith("https:") or None,
            max_age=cookie.max_age_s,
        )
        for name in ended:
            answer.del_cookie(name, path="/v1")
        return answer
