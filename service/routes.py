"""The whole surface, in one table: what a path is served by. Which methods it has stands in the view."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from service.http.operations import Operation
from service.http.view import View
from service.views.aggregate import AggregateView
from service.views.audit import AuditView
from service.views.auth.api_tokens import ApiTokensView, ApiTokenView
from service.views.auth.email_flows import (
    EmailChangeView,
    EmailVerificationView,
    ForgottenPasswordView,
    PasswordResetView,
)
from service.views.auth.jwks import JwksView
from service.views.auth.login import LoginView
from service.views.auth.passwords import PasswordView
from service.views.auth.refresh import RefreshView
from service.views.auth.register import RegistrationView
from service.views.auth.sessions import LogoutView, SessionsView, SessionView
from service.views.auth.tickets import TicketView
from service.views.auth.totp import (
    RecoveryCodesView,
    TotpConfirmationView,
    TotpRemovalView,
    TotpView,
    UserTotpView,
)
from service.views.echo import EchoView
from service.views.events import EventsView, FeedView
from service.views.health import LivenessView, MetricsView, ReadinessView
from service.views.pages import DocsView, HomeView, OpenApiJsonView, OpenApiYamlView, ProblemListView, ProblemPageView
from service.views.rooms import MembersView, MessagesView, RoomFeedView, RoomsView
from service.views.security_txt import PATH, SecurityTxtView
from service.views.static import StaticView
from service.views.users.bulk_export import UsersExportView
from service.views.users.bulk_import import UsersImportView
from service.views.users.me import MeView
from service.views.users.users import UsersView, UserView
from service.views.websocket import WebSocketView

routes = web.RouteTableDef()

routes.view("/v1/auth/register")(RegistrationView)
routes.view("/v1/auth/login")(LoginView)
routes.view("/v1/auth/refresh")(RefreshView)
routes.view("/v1/auth/logout")(LogoutView)
routes.view("/v1/auth/password")(PasswordView)
routes.view("/v1/auth/address")(EmailChangeView)
routes.view("/v1/auth/totp")(TotpView)
routes.view("/v1/auth/totp/confirm")(TotpConfirmationView)
routes.view("/v1/auth/totp/recovery-codes")(RecoveryCodesView)
routes.view("/v1/auth/totp/remove")(TotpRemovalView)
routes.view("/v1/auth/verify")(EmailVerificationView)
routes.view("/v1/auth/forgot")(ForgottenPasswordView)
routes.view("/v1/auth/reset")(PasswordResetView)
routes.view("/v1/auth/ticket")(TicketView)
routes.view("/v1/auth/sessions")(SessionsView)
routes.view("/v1/auth/sessions/{id}")(SessionView)

routes.view("/.well-known/jwks.json")(JwksView)

routes.view("/v1/users")(UsersView)
routes.view("/v1/users/me")(MeView)
routes.view("/v1/users/import")(UsersImportView)
routes.view("/v1/users/export")(UsersExportView)
routes.view("/v1/users/{id}")(UserView)
routes.view("/v1/users/{id}/totp")(UserTotpView)

routes.view("/v1/tokens")(ApiTokensView)
routes.view("/v1/tokens/{id}")(ApiTokenView)

routes.view("/v1/events")(EventsView)
routes.view("/v1/feed")(FeedView)
routes.view("/v1/audit")(AuditView)
routes.view("/v1/rooms")(RoomsView)
routes.view("/v1/rooms/{room}/members")(MembersView)
routes.view("/v1/rooms/{room}/messages")(MessagesView)
routes.view("/v1/rooms/{room}/feed")(RoomFeedView)

routes.view("/v1/ws")(WebSocketView)
routes.view("/v1/echo")(EchoView)
routes.view("/v1/aggregate")(AggregateView)

routes.view("/health/live")(LivenessView)
routes.view("/health/ready")(ReadinessView)
routes.view("/metrics")(MetricsView)
routes.view(PATH)(SecurityTxtView)

routes.view("/")(HomeView)
routes.view("/docs")(DocsView)
routes.view("/openapi.yaml")(OpenApiYamlView)
routes.view("/openapi.json")(OpenApiJsonView)
routes.view("/problems")(ProblemListView)
routes.view("/problems/{slug}")(ProblemPageView)

# What the pages are made of is no part of the API, and its description leaves it out.
files = web.RouteTableDef()
files.view("/static/{name}")(StaticView)


def operations() -> Iterator[tuple[str, str, Operation]]:
    """Every path, method and operation of the route table; HEAD follows from GET and is left out."""
    for route in routes:
        view = route.handler if isinstance(route, web.RouteDef) else None
        if not (isinstance(view, type) and issubclass(view, View)) or not isinstance(route, web.RouteDef):
            raise TypeError(f"{route} is not the route of a view")
        for method, operation in view.operations.items():
            if method != "HEAD":
                yield route.path, method.lower(), operation
