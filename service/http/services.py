"""The typed keys under which the application and a request carry values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aiohttp import ClientSession, web
from aiohttp.web import AppKey, RequestKey

from service.config.settings import Settings
from service.delivery.mail_worker import MailWorker
from service.domain.auth.login_throttle import LoginThrottle
from service.domain.idempotency.claims import IdempotencyKeys
from service.domain.ports import Clock, Store
from service.http.bulk_limit import BulkJobLimiter
from service.http.context import Context
from service.http.operations import Operation
from service.outbound.aggregate import Aggregator
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.realtime.rooms.rooms import AnyRooms
from service.schemas.users import UserJsonCache
from service.security.access_tokens import AccessTokens
from service.security.authenticator import Authenticator
from service.security.cursors import Cursors
from service.security.hash_admission import HashAdmission, ProcessHasher
from service.security.keyring import Keyring
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.rate_limits import MailLimit, RegistrationLimit
from service.security.token_usage import TokenUsageRecorder
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics

Grant = Callable[[web.Request, web.StreamResponse], Awaitable[None]]
"""Adds the CORS headers of an allowed origin to a response."""


class Endpoint(Protocol):
    """The part of a view that the middleware uses."""

    @property
    def operations(self) -> Mapping[str, Operation]: ...

    def respond(self) -> Awaitable[web.StreamResponse]: ...


Serve = Callable[[web.Request, Endpoint], Coroutine[Any, Any, web.StreamResponse]]
"""Runs a request through the middleware to its view, and returns the response."""


class CollectMetrics(Protocol):
    """Collects the metrics of all workers on this host."""

    async def collect(self, accept: str) -> bytes: ...


class ApiDescription(Protocol):
    """The OpenAPI description; built when it is first read."""

    @property
    def json(self) -> str: ...

    @property
    def yaml(self) -> str: ...


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything that requests and streams use. `create_app` builds it, and `server/lifespan.py` opens and closes it.

    Attributes:
        serve: runs a request through the middleware to its view.
        grant_cors: adds the CORS headers of an allowed origin to a response.
        mail_limit, registration_limit: None without such a limit.
        cursors, idempotency, mail_worker, outbound, aggregator: set before the first request, once the store is open.
        admin_state: whether this start created the first administrator, found one, or could do neither.
        metric_pages: of all workers on this host; None where this process is the only one.
        generated_password: of the first administrator, for the operator to see once; None if none was generated.
    """

    settings: Settings
    clock: Clock
    steady_clock: Clock
    metrics: Metrics
    tasks: Tasks
    store: Store
    hub: Hub
    rooms: AnyRooms
    connections: ConnectionRegistry
    echoes: Echoes
    hasher: ProcessHasher
    hash_admission: HashAdmission
    keyring: Keyring
    access_tokens: AccessTokens
    authenticator: Authenticator
    token_usage: TokenUsageRecorder
    login_throttle: LoginThrottle
    failed_logins: FailedLoginAudit
    mail_limit: MailLimit | None
    registration_limit: RegistrationLimit | None
    bulk_jobs: BulkJobLimiter
    api_description: ApiDescription
    user_json: UserJsonCache
    serve: Serve
    grant_cors: Grant

    cursors: Cursors = field(init=False)
    idempotency: IdempotencyKeys = field(init=False)
    mail_worker: MailWorker = field(init=False)
    outbound: ClientSession = field(init=False)
    aggregator: Aggregator = field(init=False)
    admin_state: Literal["created", "found", "missing"] = field(init=False)
    generated_password: str | None = field(init=False)
    metric_pages: CollectMetrics | None = None


SERVICES = AppKey("services", Services)
CONTEXT = RequestKey("context", Context)
