"""Every key under which the application and a request carry something, typed."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from aiohttp import ClientSession
from aiohttp.web import AppKey, RequestKey

from service.domain.ports import Clock, Hasher, Store
from service.outbound.aggregate import Aggregator
from service.realtime.connections import Connections
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.realtime.rooms import Rooms
from service.security.authenticator import Authenticator, Principal
from service.security.cursors import Cursors
from service.security.limits import LoginLimit, RequestLimit
from service.security.tokens import AccessTokens
from service.settings import Settings
from service.tasks import Tasks
from service.telemetry.access import AccessLog
from service.telemetry.metrics import Metrics


class Described(Protocol):
    """The description of the API; made when it is first asked for."""

    @property
    def json(self) -> str: ...

    @property
    def yaml(self) -> str: ...


class Allowance(NamedTuple):
    """What is left of a limit, for the `RateLimit` headers.

    Attributes:
        policy: its name.
        terms: the whole `RateLimit-Policy`.
        reset_s: seconds until more is left.
    """

    policy: str
    terms: str
    remaining: int
    reset_s: int


SETTINGS = AppKey("settings", Settings)
CLOCK: AppKey[Clock] = AppKey("clock")
STORE: AppKey[Store] = AppKey("store")
HASHER: AppKey[Hasher] = AppKey("hasher")
TOKENS = AppKey("tokens", AccessTokens)
AUTHENTICATOR = AppKey("authenticator", Authenticator)
CURSORS = AppKey("cursors", Cursors)
ADDRESS_LIMIT: AppKey[RequestLimit | None] = AppKey("address_limit")
USER_LIMIT: AppKey[RequestLimit | None] = AppKey("user_limit")
LOGIN_LIMIT: AppKey[LoginLimit | None] = AppKey("login_limit")
MADE_PASSWORD: AppKey[str | None] = AppKey("made_password")
HUB = AppKey("hub", Hub)
ROOMS = AppKey("rooms", Rooms)
CONNECTIONS = AppKey("connections", Connections)
ECHOES = AppKey("echoes", Echoes)
OPENAPI: AppKey[Described] = AppKey("openapi")
TASKS = AppKey("tasks", Tasks)
OUTBOUND = AppKey("outbound", ClientSession)
AGGREGATOR = AppKey("aggregator", Aggregator)
METRICS = AppKey("metrics", Metrics)
ACCESS_LOG: AppKey[AccessLog | None] = AppKey("access_log")

REQUEST_ID = RequestKey("request_id", str)
CLIENT = RequestKey("client", str)
PRINCIPAL = RequestKey("principal", Principal)
ALLOWANCE = RequestKey("allowance", Allowance)
STREAMED_BYTES = RequestKey("streamed_bytes", int)
