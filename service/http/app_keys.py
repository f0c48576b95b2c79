"""Every key under which the application and a request carry something, typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, Protocol

from aiohttp import ClientSession, web
from aiohttp.web import AppKey, RequestKey

from service.config.settings import Settings
from service.delivery.mail_worker import Postbox
from service.domain.idempotency import Keys
from service.domain.ports import Clock, Store
from service.http.bulk_limit import BulkJobLimiter
from service.http.context import Context
from service.http.operations import Operation
from service.outbound.aggregate import Aggregator
from service.realtime.connections import ConnectionRegistry
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.realtime.rooms.registry import Rooms
from service.security.access_tokens import AccessTokens
from service.security.authenticator import Authenticator
from service.security.cursors import Cursors
from service.security.hash_admission import HashAdmission, ProcessHasher
from service.security.keyring import Keyring
from service.security.login_throttle.guard import LoginThrottle
from service.security.login_throttle.told import FailedLoginAudit
from service.security.rate_limits import MailLimit, RegistrationLimit
from service.security.token_usage import TokenUsageRecorder
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics

Grant = Callable[[web.Request, web.StreamResponse], Awaitable[None]]
"""Adds to an answer what CORS lets its page read."""


class Endpoint(Protocol):
    """A view, as far as what stands around it must know."""

    @property
    def operations(self) -> Mapping[str, Operation]: ...

    def respond(self) -> Awaitable[web.StreamResponse]: ...


Serve = Callable[[web.Request, Endpoint], Coroutine[Any, Any, web.StreamResponse]]
"""Takes a request through every step to its view, and the answer back."""


class Described(Protocol):
    """The description of the API; made when it is first asked for."""

    @property
    def json(self) -> str: ...

    @property
    def yaml(self) -> str: ...


SETTINGS = AppKey("settings", Settings)
CLOCK: AppKey[Clock] = AppKey("clock")
STEADY_CLOCK: AppKey[Clock] = AppKey("steady_clock")
STORE: AppKey[Store] = AppKey("store")
HASHER: AppKey[ProcessHasher] = AppKey("hasher")
HASH_PLACES = AppKey("hash_places", HashAdmission)
TOKENS = AppKey("tokens", AccessTokens)
KEYRING = AppKey("keyring", Keyring)
AUTHENTICATOR = AppKey("authenticator", Authenticator)
CURSORS = AppKey("cursors", Cursors)
IDEMPOTENCY = AppKey("idempotency", Keys)
GUARD = AppKey("guard", LoginThrottle)
MAIL_LIMIT: AppKey[MailLimit | None] = AppKey("mail_limit")
REGISTRATION_LIMIT: AppKey[RegistrationLimit | None] = AppKey("registration_limit")
POSTBOX = AppKey("postbox", Postbox)
ADMIN: AppKey[Literal["made", "found", "missing"]] = AppKey("admin")
"""What the start did about the first administrator."""
MADE_PASSWORD: AppKey[str | None] = AppKey("made_password")
HUB = AppKey("hub", Hub)
ROOMS = AppKey("rooms", Rooms)
CONNECTIONS = AppKey("connections", ConnectionRegistry)
ECHOES = AppKey("echoes", Echoes)
OPENAPI: AppKey[Described] = AppKey("openapi")
TASKS = AppKey("tasks", Tasks)
USES = AppKey("uses", TokenUsageRecorder)
TOLD_FAILURES = AppKey("told_failures", FailedLoginAudit)
OUTBOUND = AppKey("outbound", ClientSession)
AGGREGATOR = AppKey("aggregator", Aggregator)
TRANSFERS = AppKey("transfers", BulkJobLimiter)
METRICS = AppKey("metrics", Metrics)

GRANT: AppKey[Grant] = AppKey("grant")
SERVE: AppKey[Serve] = AppKey("serve")

CONTEXT = RequestKey("context", Context)
