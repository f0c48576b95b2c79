"""The one place that joins everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from service import middleware
from service.adapters import build_hasher, build_login_limit, build_rooms, build_store
from service.config.settings import Settings
from service.domain.events.event import Event
from service.domain.ports import Store
from service.domain.steady_clock import SteadyClock
from service.http.bulk_limit import BulkJobLimiter
from service.http.openapi.text import OpenApi
from service.http.services import SERVICES, Services
from service.middleware.cors import set_up_cors
from service.realtime import close_reasons
from service.realtime.connections import ConnectionRegistry
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.realtime.rooms.rooms import AnyRooms
from service.routes import files, operations, routes
from service.schemas.users import UserJsonCache
from service.security.access_tokens import AccessTokens
from service.security.authenticator import Authenticator
from service.security.hash_admission import HashAdmission, ProcessHasher
from service.security.keyring import Keyring
from service.security.keys import keys_from_settings
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.login_throttle.throttle import LoginThrottle
from service.security.rate_limits import MailLimit, RegistrationLimit
from service.security.token_usage import TokenUsageRecorder
from service.server import lifespan
from service.server.metric_series import create_series
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
    clock = now
    store = store or build_store(settings, clock)
    hasher = hasher or build_hasher(settings)
    metrics = Metrics()
    chosen = keys_from_settings(settings)
    keyring = Keyring(
        settings.access_ttl_s, clock, None if chosen else store.signing_keys.list_all, lambda: on_key_loss()
    )
    keyring.use(chosen)
    tokens = AccessTokens(keyring, settings.issuer, settings.access_ttl_s)
    tasks = Tasks()
    uses, failed_logins = TokenUsageRecorder(store, clock, tasks), FailedLoginAudit(store, tasks)
    authenticator = Authenticator(store, tokens, clock, lambda: hub.is_current, uses.note)
    # A response about a revocation waits for no log reader: the session is revoked in this process at commit.
    store.add_commit_listener(authenticator.follow)
    rooms = build_rooms(settings, clock, lambda: connections.end_room_streams(settings.drain_spread_s))
    connections = ConnectionRegistry(
        metrics,
        most_per_user=settings.max_connections_per_user,
        count_everywhere=rooms.count_connections if settings.redis_url else None,
        tasks=tasks,
        slow_client_timeout_s=settings.slow_client_timeout_s,
        most_buffered=settings.send_buffer_total_bytes,
        keepalive_s={"feed": settings.sse_keepalive_s, "websocket": settings.ws_heartbeat_s},
    )

    def on_principal(event: Event) -> None:
        authenticator.follow((event,))
        connections.follow(event)
        if "username" in event.changed and event.user is not None:
            rooms.rename(event.subject, event.user.username)

    def on_failure() -> None:
        authenticator.forget()
        connections.end_all(close_reasons.FEED_FAILED)

    def on_key_loss() -> None:
        authenticator.forget()
        connections.end_all(close_reasons.EXPIRED)

    hub = Hub(store, on_principal, on_failure)
    _watch(metrics, hub, rooms)
    mail_rate, registration_rate = settings.mail_rate, settings.registration_rate

    app = web.Application(client_max_size=settings.max_body_bytes)
    app.add_routes(routes)
    app.add_routes(files)
    create_series(metrics, operations())
    aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(_WEB / "templates"), autoescape=True)
    app[SERVICES] = Services(
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
        access_tokens=tokens,
        authenticator=authenticator,
        token_usage=uses,
        login_throttle=LoginThrottle(build_login_limit(settings, store, metrics), failed_logins),
        failed_logins=failed_logins,
        mail_limit=MailLimit(mail_rate) if mail_rate else None,
        registration_limit=RegistrationLimit(registration_rate) if registration_rate else None,
        bulk_jobs=BulkJobLimiter(),
        api_description=OpenApi(settings.public_url or "/"),
        user_json=UserJsonCache(),
        serve=middleware.in_order(settings, authenticator, metrics, access_log),
        grant_cors=set_up_cors(app, settings.cors_origins),
    )
    app.router.register_resource(AnyPath())

    app.cleanup_ctx.extend(lifespan.IN_ORDER)
    app.on_shutdown.append(lifespan.end_streams)
    return app


def _watch(metrics: Metrics, hub: Hub, rooms: AnyRooms) -> None:
    metrics.watch(
        "roster_event_log_head", "Events of this life of the log, as far as readers see it.", lambda: hub.ring.head
    )
    metrics.watch(
        "roster_feed_live_readers",
        "Readers of the feed at the head of the log; all other readers are detached.",
        lambda: sum(1 for _ in hub.live_readers()),
    )
    metrics.watch("roster_event_log_lag_seconds", "For how long the log could not be followed.", lambda: hub.silent_s)
    metrics.watch("roster_rooms", "Rooms with members, readers or history.", lambda: len(rooms))
    metrics.watch("roster_engine_lag_seconds", "For how long shared rooms could not be followed.", lambda: rooms.lag_s)
