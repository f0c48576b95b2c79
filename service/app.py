"""The one place that joins everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from service import middleware
from service.adapters import (
    build_connections,
    build_hasher,
    build_keyring,
    build_login_throttle,
    build_rooms,
    build_store,
)
from service.config.settings import Settings
from service.domain.ports import Store
from service.domain.steady_clock import SteadyClock
from service.http.bulk_limit import BulkJobLimiter
from service.http.openapi.text import OpenApi
from service.http.services import SERVICES, Grant, Services
from service.middleware.cors import set_up_cors
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.routes import files, operations, routes
from service.schemas.users import UserJsonCache
from service.security.access_tokens import AccessTokens
from service.security.authenticator import Authenticator
from service.security.hash_admission import HashAdmission, ProcessHasher
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.rate_limits import MailLimit, RegistrationLimit
from service.security.token_usage import TokenUsageRecorder
from service.server import lifespan
from service.server.access_changes import AccessChanges
from service.server.metric_series import create_series, watch_gauges
from service.server.tasks import Tasks
from service.telemetry.access import AccessLog
from service.telemetry.metrics import Metrics
from service.views.not_found import AnyPath

_WEB = Path(__file__).parent / "web"


def now() -> datetime:
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    store: Store | None = None,
    hasher: ProcessHasher | None = None,
    access_log: AccessLog | None = None,
) -> web.Application:
    """Build the application. Nothing is opened before it starts.

    Args:
        store: instead of the one that `settings` names.
        hasher: instead of argon2id with the parameters of production, which cost 43 ms a password.
        access_log: where a line for each request goes; None for nowhere.
    """
    app = web.Application(client_max_size=settings.max_body_bytes)
    app.add_routes(routes)
    app.add_routes(files)
    aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(_WEB / "templates"), autoescape=True)
    grant_cors = set_up_cors(app, settings.cors_origins)
    app.router.register_resource(AnyPath())  # after the preflight routes of CORS

    app[SERVICES] = _build_services(
        settings,
        store=store or build_store(settings, now),
        hasher=hasher or build_hasher(settings),
        access_log=access_log,
        grant_cors=grant_cors,
    )
    create_series(app[SERVICES].metrics, operations())

    app.cleanup_ctx.extend(lifespan.IN_ORDER)
    app.on_shutdown.append(lifespan.end_streams)
    return app


def _build_services(
    settings: Settings, *, store: Store, hasher: ProcessHasher, access_log: AccessLog | None, grant_cors: Grant
) -> Services:
    """Build each part from the parts above it. Nothing refers to a part below it."""
    clock = now
    metrics = Metrics()
    tasks = Tasks()

    keyring = build_keyring(settings, store, clock)
    access_tokens = AccessTokens(keyring, settings.issuer, settings.access_ttl_s)
    token_usage = TokenUsageRecorder(store, clock, tasks)
    failed_logins = FailedLoginAudit(store, tasks)

    hub = Hub(store)
    rooms = build_rooms(settings, clock)
    connections = build_connections(settings, rooms, metrics, tasks)
    authenticator = Authenticator(store, access_tokens, clock, lambda: hub.is_current, token_usage.note)
    AccessChanges(authenticator, connections, rooms, settings.drain_spread_s).listen(store, hub, keyring)
    watch_gauges(metrics, hub, rooms)

    return Services(
        settings=settings,
        clock=clock,
        steady_clock=SteadyClock(clock),
        metrics=metrics,
        tasks=tasks,
        store=store,
        hub=hub,
        rooms=rooms,
        connections=connections,
        echoes=Echoes(settings.echo_connections_per_address),
        hasher=hasher,
        hash_admission=HashAdmission(hasher, settings.hash_queue),
        keyring=keyring,
        access_tokens=access_tokens,
        authenticator=authenticator,
        token_usage=token_usage,
        login_throttle=build_login_throttle(settings, store, metrics, failed_logins),
        failed_logins=failed_logins,
        mail_limit=MailLimit(settings.mail_rate) if settings.mail_rate else None,
        registration_limit=RegistrationLimit(settings.registration_rate) if settings.registration_rate else None,
        bulk_jobs=BulkJobLimiter(),
        api_description=OpenApi(settings.public_url or "/"),
        user_json=UserJsonCache(),
        serve=middleware.in_order(settings, authenticator, metrics, access_log),
        grant_cors=grant_cors,
    )
