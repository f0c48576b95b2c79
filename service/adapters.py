"""Builds the adapters that the settings select. Their modules are imported on demand, because they take memory."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from service.config.settings import PREFIX, Settings, SettingsError
from service.delivery.log_mailer import LogMailer
from service.domain.ports import Clock, Mailer, Store
from service.outbound.tls import create_context
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.rooms.memory_rooms import MemoryRooms
from service.realtime.rooms.rooms import AnyRooms
from service.realtime.rooms.shared_rooms import SharedRooms
from service.security.argon2_hasher import Argon2Hasher, usual_workers
from service.security.hash_admission import ProcessHasher
from service.security.keyring import Keyring
from service.security.keys import keys_from_settings
from service.security.login_throttle.alerts import ThrottleAlerts
from service.security.login_throttle.backoff import Backoff
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.login_throttle.memory_counters import MemoryCounters
from service.security.login_throttle.throttle import SITE_FACTOR, FailureThrottle
from service.server.tasks import Tasks
from service.server.workers.hash_permits import HashPermits
from service.server.workers.slots import WorkerSlot
from service.store.memory.store import MemoryStore
from service.telemetry.metrics import Metrics

log = logging.getLogger("roster")


def build_store(settings: Settings, clock: Clock) -> Store:
    keep_events, keep_s, keep_audit_s = (
        settings.event_retention_count,
        settings.event_retention_s,
        settings.audit_retention_s,
    )
    if settings.store_kind == "memory":
        return MemoryStore(
            clock, keep_events=keep_events, keep_bytes=settings.event_retention_bytes, keep_audit_s=keep_audit_s
        )
    # As long as the worker that was here before may take to stop.
    wait_s = settings.drain_delay_s + settings.drain_spread_s + 3 * settings.shutdown_timeout_s + 10
    may_migrate = settings.store_migrate
    if settings.sqlite_path is not None:
        from service.store.sqlite.store import SqliteStore

        full = settings.sqlite_synchronous == "full"
        return SqliteStore(
            settings.sqlite_path, clock,
            keep_events=keep_events, keep_s=keep_s, keep_audit_s=keep_audit_s,
            full=full, wait_s=wait_s, may_migrate=may_migrate,
        )  # fmt: skip
    try:
        from service.store.postgres.store import PostgresStore
    except ImportError:
        raise SettingsError(
            f"{PREFIX}STORE_URL names PostgreSQL, for which asyncpg is missing: pip install '.[postgres]' in a checkout"
        ) from None

    return PostgresStore(
        settings.store_url.get_secret_value(), clock,
        keep_events=keep_events, keep_s=keep_s, keep_audit_s=keep_audit_s,
        wait_s=None if settings.is_shared else wait_s, may_migrate=may_migrate, workers=settings.workers,
    )  # fmt: skip


def build_hasher(settings: Settings, worker: WorkerSlot | None = None) -> ProcessHasher:
    """The hasher of a process; with a worker's slot, all workers of the host together use as many threads as one would."""
    threads = settings.hash_workers or usual_workers(settings.argon2_memory_kib)
    return Argon2Hasher(
        threads,
        settings.hash_queue,
        settings.argon2_memory_kib,
        settings.argon2_time_cost,
        settings.argon2_parallelism,
        nullcontext if worker is None else HashPermits(worker.slots.folder, threads).hold,
    )


def build_keyring(settings: Settings, store: Store, clock: Clock) -> Keyring:
    """The keys that settings name; without any, those of the store, which are read when the service starts.

    Raises `SettingsError` for a key that cannot be used.
    """
    chosen = keys_from_settings(settings)
    keyring = Keyring(settings.access_ttl_s, clock, None if chosen else store.signing_keys.list_all)
    keyring.use(chosen)
    return keyring


def build_connections(settings: Settings, rooms: AnyRooms, metrics: Metrics, tasks: Tasks) -> ConnectionRegistry:
    return ConnectionRegistry(
        metrics,
        most_per_user=settings.max_connections_per_user,
        count_everywhere=rooms.count_connections if settings.redis_url else None,
        tasks=tasks,
        slow_client_timeout_s=settings.slow_client_timeout_s,
        most_buffered=settings.send_buffer_total_bytes,
        keepalive_s={"feed": settings.sse_keepalive_s, "websocket": settings.ws_heartbeat_s},
    )


def build_mailer(settings: Settings, clock: Clock) -> Mailer:
    if settings.smtp is not None:
        from service.delivery.smtp import SmtpMailer

        tls = create_context(settings.outbound_ca_file)
        return SmtpMailer(settings.smtp, settings.mail_from, settings.smtp_timeout_s, tls, clock)
    if settings.registration == "verify":
        log.warning("ROSTER_SMTP_URL is empty; mails to new users are written to the log only")
    return LogMailer()


def build_login_throttle(
    settings: Settings, store: Store, metrics: Metrics, failed_logins: FailedLoginAudit
) -> FailureThrottle:
    rate, counters = settings.login_rate, None
    if rate is not None:
        sites = Backoff(rate._replace(most=rate.most * SITE_FACTOR))
        counters = MemoryCounters(Backoff(rate), other_terms={"site": sites})
    alerts = ThrottleAlerts(lambda kind: metrics.login_throttled.labels(kind).inc())
    return FailureThrottle(counters, store.sessions.list_of_user, failed_logins, alerts)


def build_rooms(settings: Settings, clock: Clock) -> AnyRooms:
    """Rooms of this process alone, or those that all processes share through Redis."""
    rules, history, history_s = settings.parsed_room_rules, settings.room_history_count, settings.room_history_s
    if not settings.redis_url:
        return MemoryRooms(
            clock, rules, history=history, history_s=history_s,
            batch_s=settings.presence_batch_s, grace_s=settings.presence_grace_s,
        )  # fmt: skip
    try:
        from service.realtime.redis.engine import RedisEngine, RoomLimits
    except ImportError:
        raise SettingsError(
            f"{PREFIX}REDIS_URL is set, for which redis is missing: pip install '.[redis]' in a checkout"
        ) from None

    limits = RoomLimits(history=history, history_s=history_s, grace_s=settings.presence_grace_s)
    engine = RedisEngine(settings.redis_url.get_secret_value(), settings.redis_ca_file or None, limits)
    return SharedRooms(engine, rules, history=history, history_s=history_s, batch_s=settings.presence_batch_s)
