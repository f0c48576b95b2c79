"""The whole surface, in one table: what a path is served by. Which methods it has stands in the view."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from service.http.operations import Operation
from service.http.view import View
from service.views.aggregate import Aggregate
from service.views.audit import Audit
from service.views.auth.api_tokens import TokenById, Tokens
from service.views.auth.email_flows import (
    ChangeAddress,
    Forgot,
    ResetPassword,
    Verify,
)
from service.views.auth.jwks import Jwks
from service.views.auth.login import LogIn
from service.views.auth.passwords import ChangePassword
from service.views.auth.refresh import RefreshTokens
from service.views.auth.register import Register
from service.views.auth.sessions import LogOut, SessionById, Sessions
from service.views.auth.tickets import MakeTicket
from service.views.auth.totp import (
    Totp,
    TotpCodes,
    TotpConfirmation,
    TotpRemoval,
    UserTotp,
)
from service.views.echo import Echo
from service.views.events import Events, Feed
from service.views.health import Live, MetricsPage, Ready
from service.views.pages import Docs, Home, OpenApiJson, OpenApiYaml, ProblemList, ProblemPage
from service.views.rooms import Members, Messages, RoomFeed, Rooms
from service.views.security_txt import PATH, SecurityTxt
from service.views.static import Static
from service.views.users.bulk_export import UsersExport
from service.views.users.bulk_import import UsersImport
from service.views.users.me import Me
from service.views.users.users import UserById, Users
from service.views.websocket import Socket

routes = web.RouteTableDef()

routes.view("/v1/auth/register")(Register)
routes.view("/v1/auth/login")(LogIn)
routes.view("/v1/auth/refresh")(RefreshTokens)
routes.view("/v1/auth/logout")(LogOut)
routes.view("/v1/auth/password")(ChangePassword)
routes.view("/v1/auth/address")(ChangeAddress)
routes.view("/v1/auth/totp")(Totp)
routes.view("/v1/auth/totp/confirm")(TotpConfirmation)
routes.view("/v1/auth/totp/recovery-codes")(TotpCodes)
routes.view("/v1/auth/totp/remove")(TotpRemoval)
routes.view("/v1/auth/verify")(Verify)
routes.view("/v1/auth/forgot")(Forgot)
routes.view("/v1/auth/reset")(ResetPassword)
routes.view("/v1/auth/ticket")(MakeTicket)
routes.view("/v1/auth/sessions")(Sessions)
routes.view("/v1/auth/sessions/{id}")(SessionById)

routes.view("/.well-known/jwks.json")(Jwks)

routes.view("/v1/users")(Users)
routes.view("/v1/users/me")(Me)
routes.view("/v1/users/import")(UsersImport)
routes.view("/v1/users/export")(UsersExport)
routes.view("/v1/users/{id}")(UserById)
routes.view("/v1/users/{id}/totp")(UserTotp)

routes.view("/v1/tokens")(Tokens)
routes.view("/v1/tokens/{id}")(TokenById)

routes.view("/v1/events")(Events)
routes.view("/v1/feed")(Feed)
routes.view("/v1/audit")(Audit)
routes.view("/v1/rooms")(Rooms)
routes.view("/v1/rooms/{room}/members")(Members)
routes.view("/v1/rooms/{room}/messages")(Messages)
routes.view("/v1/rooms/{room}/feed")(RoomFeed)

routes.view("/v1/ws")(Socket)
routes.view("/v1/echo")(Echo)
routes.view("/v1/aggregate")(Aggregate)

routes.view("/health/live")(Live)
routes.view("/health/ready")(Ready)
routes.view("/metrics")(MetricsPage)
routes.view(PATH)(SecurityTxt)

routes.view("/")(Home)
routes.view("/docs")(Docs)
routes.view("/openapi.yaml")(OpenApiYaml)
routes.view("/openapi.json")(OpenApiJson)
routes.view("/problems")(ProblemList)
routes.view("/problems/{slug}")(ProblemPage)

# What the pages are made of is no part of the API, and its description leaves it out.
files = web.RouteTableDef()
files.view("/static/{name}")(Static)


def operations() -> Iterator[tuple[str, str, Operation]]:
    """Every path, method and operation of the route table; HEAD follows from GET and is left out."""
    for route in routes:
        view = route.handler if isinstance(route, web.RouteDef) else None
        if not (isinstance(view, type) and issubclass(view, View)) or not isinstance(route, web.RouteDef):
            raise TypeError(f"{route} is not the route of a view")
        for method, operation in view.operations.items():
            if method != "HEAD":
                yield route.path, method.lower(), operation
