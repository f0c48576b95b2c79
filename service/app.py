"""The one place that chooses implementations and joins everything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from service import keys, middleware
from service.domain import accounts
from service.domain.accounts import NewUser
from service.domain.errors import Invalid, Taken, Unavailable
from service.domain.events import Event
from service.domain.idempotency import Keys
from service.domain.letters import Letterhead
from service.domain.mail import Purpose
from service.domain.passwords import refuse_common
from service.domain.ports import Clock, Hasher, Mailer, Store
from service.middleware.cors import set_up_cors
from service.openapi.text import OpenApi
from service.outbound.aggregate import Aggregator
from service.outbound.mail_log import LogMailer
from service.outbound.postbox import Postbox
from service.outbound.session import open_session
from service.outbound.trust import trusted
from service.realtime import closing
from service.realtime.connections import Connections
from service.realtime.echoes import Echoes
from service.realtime.hub import Hub
from service.realtime.rooms import Rooms
from service.routes import files, routes
from service.security.authenticator import Authenticator
from service.security.cursors import Cursors
from service.security.keyring import Keyring
from service.security.keys import UnusableKey, chosen_keys, made
from service.security.limits import LoginLimit, MailLimit
from service.security.passwords import Argon2Hasher
from service.security.tokens import AccessTokens
from service.security.uses import Uses
from service.settings import PREFIX, Settings, SettingsError
from service.store.memory import MemoryStore
from service.tasks import Tasks
from service.telemetry.access import AccessLog
from service.telemetry.metrics import Metrics
from service.transfers import Transfers
from service.views.nowhere import Anywhere

log = logging.getLogger("roster")

_WEB = Path(__file__).parent / "web"


def now() -> datetime:
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    store: Store | None = None,
    hasher: Hasher | None = None,
    access_log: AccessLog | None = None,
) -> web.Application:
    """Build the application. Nothing is opened before it starts.

    Args:
        store: instead of the one that `settings` names.
        hasher: instead of argon2id with the parameters of production, which cost 43 ms a password.
        access_log: where a line for each request goes; None for nowhere.
    """
    clock = now
    store = store or _chosen_store(settings, clock)
    hasher = hasher or Argon2Hasher(
        settings.hash_workers or None,
        settings.hash_queue,
        settings.hash_memory_kib,
        settings.hash_passes,
        settings.hash_lanes,
    )
    metrics = Metrics()
    chosen = chosen_keys(settings)
    keyring = Keyring(settings.access_ttl_s, clock, None if chosen else store.signing_keys, lambda: on_key_loss())
    keyring.use(chosen)
    tokens = AccessTokens(keyring, settings.issuer, settings.access_ttl_s)
    tasks = Tasks()
    uses = Uses(store, clock, tasks)
    authenticator = Authenticator(store, tokens, clock, lambda: hub.is_current, uses.note)
    connections = Connections(
        metrics,
        most_per_user=settings.max_connections_per_user,
        stall_s=settings.stall_s,
        most_buffered=settings.send_buffer_total_bytes,
        ping_s={"feed": settings.ping_s, "websocket": settings.heartbeat_s},
    )

    def on_principal(event: Event) -> None:
        authenticator.follow((event,))
        connections.follow(event)
        if "username" in event.changed and event.user is not None:
            rooms.rename(event.subject, event.user.username)

    def on_failure() -> None:
        authenticator.forget()
        connections.end_all(closing.FEED_FAILED)

    def on_key_loss() -> None:
        authenticator.forget()
        connections.end_all(closing.EXPIRED)

    hub = Hub(store, on_principal, on_failure)
    rooms = Rooms(
        clock,
        settings.rules_of_rooms,
        history=settings.room_history,
        history_s=settings.room_history_s,
        gather_s=settings.presence_gather_s,
        leave_s=settings.presence_leave_s,
    )
    metrics.watch("roster_log_seq", "Events of this life of the log, as far as readers see it.", lambda: hub.ring.head)
    metrics.watch(
        "roster_feed_live_readers",
        "Readers of the feed at the head of the log; the others read on from behind.",
        lambda: sum(1 for _ in hub.live_readers()),
    )
    metrics.watch("roster_log_silent_seconds", "For how long the log could not be followed.", lambda: hub.silent_s)
    metrics.watch("roster_rooms", "Rooms with members, readers or history.", lambda: len(rooms))
    login_rate, mail_rate = settings.login_rate, settings.mail_rate

    app = web.Application(
        client_max_size=settings.max_body_bytes,
    )
    app[keys.SETTINGS] = settings
    app[keys.CLOCK] = clock
    app[keys.STORE] = store
    app[keys.HASHER] = hasher
    app[keys.TOKENS] = tokens
    app[keys.KEYRING] = keyring
    app[keys.AUTHENTICATOR] = authenticator
    app[keys.LOGIN_LIMIT] = LoginLimit(login_rate) if login_rate else None
    app[keys.MAIL_LIMIT] = MailLimit(mail_rate) if mail_rate else None
    app[keys.HUB] = hub
    app[keys.ROOMS] = rooms
    app[keys.CONNECTIONS] = connections
    app[keys.ECHOES] = Echoes(settings.echo_connections_per_address)
    app[keys.TASKS] = tasks
    app[keys.USES] = uses
    app[keys.TRANSFERS] = Transfers()
    app[keys.METRICS] = metrics
    app[keys.SERVE] = middleware.in_order(settings, authenticator, metrics, access_log)
    app[keys.OPENAPI] = OpenApi()

    app.add_routes(routes)
    app.add_routes(files)
    aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(_WEB / "templates"), autoescape=True)
    app[keys.GRANT] = set_up_cors(app, settings.cors_origins)
    app.router.register_resource(Anywhere())

    # Opened in this order, closed in the reverse one.
    app.cleanup_ctx.extend((_store, _keyring, _admin, _hub, _outbound, _tasks, _mail))
    app.on_shutdown.append(_end_streams)
    return app


def _chosen_store(settings: Settings, clock: Clock) -> Store:
    keep_events, keep_s = settings.log_keep_events, settings.log_keep_s
    if settings.store_url == "memory://":
        return MemoryStore(clock, keep_events=keep_events, keep_bytes=settings.log_keep_bytes)
    # As long as the worker that was here before may take to stop.
    wait_s = settings.drain_delay_s + settings.drain_spread_s + 3 * settings.shutdown_timeout_s + 10
    may_migrate = settings.store_migrate
    # SQLAlchemy takes memory that a process without it need not have.
    if settings.sqlite_path is not None:
        from service.store.sql.sqlite import SqliteStore

        full = settings.sqlite_synchronous == "full"
        return SqliteStore(
            settings.sqlite_path, clock,
            keep_events=keep_events, keep_s=keep_s, full=full, wait_s=wait_s, may_migrate=may_migrate,
        )  # fmt: skip
    try:
        from service.store.sql.postgres import PostgresStore
    except ImportError:
        raise SettingsError(
            f"{PREFIX}STORE_URL names PostgreSQL, for which asyncpg is missing: pip install 'roster-service[postgres]'"
        ) from None

    return PostgresStore(
        settings.store_url, clock, keep_events=keep_events, keep_s=keep_s, wait_s=wait_s, may_migrate=may_migrate
    )


@contextlib.asynccontextmanager
async def _store(app: web.Application) -> AsyncIterator[None]:
    """Open the store, and take from it the secrets that all who use it share."""
    store = app[keys.STORE]
    try:
        await store.open()
    except Unavailable as error:
        raise SettingsError(f"{PREFIX}STORE_URL: {error}") from None
    app[keys.CURSORS] = Cursors(await store.secret("cursors"))
    app[keys.IDEMPOTENCY] = Keys(await store.secret("idempotency"), app[keys.SETTINGS].idempotency_keep_s)
    yield
    await store.close()


@contextlib.asynccontextmanager
async def _keyring(app: web.Application) -> AsyncIterator[None]:
    """Where no setting names the keys of access tokens, take them from the store, and follow those that others make."""
    store, keyring = app[keys.STORE], app[keys.KEYRING]
    if not keyring.is_kept:
        yield
        return
    moment = app[keys.CLOCK]()
    await store.offer_signing_key(made("HS256", moment, moment))
    try:
        await keyring.look()
    except UnusableKey as error:
        raise SettingsError(f"a key of access tokens in the store {error}") from None
    task = asyncio.create_task(keyring.follow(), name="follow the keys")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _admin(app: web.Application) -> AsyncIterator[None]:
    """Make the first administrator, so that somebody can let others in."""
    settings, hasher = app[keys.SETTINGS], app[keys.HASHER]
    password = settings.admin_password or secrets.token_urlsafe(12)
    admin = NewUser(settings.admin_username, settings.admin_email, role="admin", password=password)
    try:
        made = await accounts.ensure_admin(app[keys.STORE], hasher, app[keys.CLOCK], admin)
    except Taken as error:
        made = False
        log.error("there is no administrator: set another ROSTER_ADMIN_USERNAME or ROSTER_ADMIN_EMAIL; %s", error)
    # Only a password that nobody knows yet has to be told.
    if made and _is_common(admin):
        log.warning("the password of the administrator is one that anybody would try; change it")
    app[keys.MADE_PASSWORD] = password if made and not settings.admin_password else None
    yield
    hasher.close()


def _is_common(admin: NewUser) -> bool:
    try:
        refuse_common(admin.password or "", admin.username, admin.email)
    except Invalid:
        return True
    return False


@contextlib.asynccontextmanager
async def _hub(app: web.Application) -> AsyncIterator[None]:
    """Follow the log, and look after those who read it."""
    hub, rooms = app[keys.HUB], app[keys.ROOMS]
    await hub.open()
    watch = app[keys.CONNECTIONS].watch(hub.check, rooms.sweep, app[keys.USES].look)
    tasks = [asyncio.create_task(hub.follow(), name="follow the log"), asyncio.create_task(watch, name="watch streams")]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rooms.close()


@contextlib.asynccontextmanager
async def _outbound(app: web.Application) -> AsyncIterator[None]:
    """The one session for calls out."""
    settings = app[keys.SETTINGS]
    async with open_session(settings) as session:
        app[keys.OUTBOUND] = session
        app[keys.AGGREGATOR] = Aggregator(
            session,
            settings.upstreams,
            concurrency=settings.aggregate_concurrency,
            timeout_s=settings.aggregate_timeout_s,
            max_bytes=settings.outbound_max_bytes,
        )
        yield


@contextlib.asynccontextmanager
async def _mail(app: web.Application) -> AsyncIterator[None]:
    """Send mails that wait, those of before the last stop among them."""
    settings, clock = app[keys.SETTINGS], app[keys.CLOCK]
    mailer: Mailer = LogMailer()
    if settings.smtp is not None:
        from service.outbound.smtp import SmtpMailer  # with what it needs, memory that others need not have

        tls = trusted(settings.outbound_ca_file)
        mailer = SmtpMailer(settings.smtp, settings.mail_from, settings.smtp_timeout_s, tls, clock)
    elif settings.registration == "verify":
        log.warning("who registers is told in the log alone: ROSTER_SMTP_URL names no mail server")
    ttls: dict[Purpose, timedelta] = {
        "verify": timedelta(seconds=settings.verify_ttl_s),
        "reset": timedelta(seconds=settings.reset_ttl_s),
    }
    head = Letterhead(settings.public_url, settings.mail_link_url, ttls)
    postbox = app[keys.POSTBOX] = Postbox(app[keys.STORE], mailer, clock, head, app[keys.TASKS], app[keys.METRICS])
    sending = asyncio.create_task(postbox.run(), name="send mails")
    yield
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@contextlib.asynccontextmanager
async def _tasks(app: web.Application) -> AsyncIterator[None]:
    """Bring to its end what was begun, before anything that it uses closes."""
    yield
    await app[keys.TASKS].close(app[keys.SETTINGS].shutdown_timeout_s)


async def _end_streams(app: web.Application) -> None:
    """Tell every stream to come back later; a handler that is not told costs twice the shutdown timeout."""
    settings = app[keys.SETTINGS]
    app[keys.TRANSFERS].end()
    await asyncio.gather(
        app[keys.CONNECTIONS].drain(settings.drain_spread_s, settings.shutdown_timeout_s), app[keys.ECHOES].drain()
    )
