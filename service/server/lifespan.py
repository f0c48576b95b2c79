"""The parts of the application that open before the first request and close after the last one; `IN_ORDER` lists them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from service.adapters import build_mailer
from service.config.settings import PREFIX, SettingsError
from service.delivery.mail_worker import MailWorker
from service.domain.errors import Unavailable
from service.domain.idempotency.claims import IdempotencyKeys
from service.domain.mail.mail import Purpose
from service.domain.mail.templates import TemplateContext
from service.http.services import SERVICES
from service.outbound.aggregate import Aggregator
from service.outbound.session import open_session
from service.security.cursors import Cursors
from service.security.keys import UnusableKey, generate_key
from service.server.first_admin import create_first_admin


@contextlib.asynccontextmanager
async def open_store(app: web.Application) -> AsyncIterator[None]:
    """Open the store, and read the secrets that all processes of the store share. Close the store at the end."""
    services = app[SERVICES]
    store = services.store
    try:
        await store.open()
    except Unavailable as error:
        raise SettingsError(f"{PREFIX}STORE_URL: {error}") from None
    services.cursors = Cursors(await store.secrets.get_or_create("cursors"))
    services.idempotency = IdempotencyKeys(
        await store.secrets.get_or_create("idempotency"), services.settings.idempotency_ttl_s
    )
    yield
    await store.close()


@contextlib.asynccontextmanager
async def follow_keys(app: web.Application) -> AsyncIterator[None]:
    """If no setting names signing keys, read those of the store, and follow the changes of other processes to the end."""
    services = app[SERVICES]
    store, keyring = services.store, services.keyring
    if not keyring.is_kept:
        yield
        return
    now = services.clock()
    await store.signing_keys.add_if_none(generate_key("HS256", now, now))
    try:
        await keyring.reload()
    except UnusableKey as error:
        raise SettingsError(f"a key of access tokens in the store {error}") from None
    async with _running(keyring.follow(), "follow the keys"):
        yield


@contextlib.asynccontextmanager
async def open_hasher(app: web.Application) -> AsyncIterator[None]:
    """Create the first administrator. End the threads that hash passwords at the end."""
    services = app[SERVICES]
    await create_first_admin(services)
    yield
    services.hasher.close()


@contextlib.asynccontextmanager
async def follow_log(app: web.Application) -> AsyncIterator[None]:
    """Start the feed and the rooms at their present heads. Follow both, and check the open streams, to the end."""
    services = app[SERVICES]
    hub, rooms = services.hub, services.rooms
    await hub.open()
    await rooms.open()
    checks = (hub.check, rooms.sweep, services.token_usage.write_due, services.failed_logins.write_due)
    async with _running(hub.follow(), "follow the log"), _running(services.connections.watch(*checks), "watch streams"):
        yield
    await rooms.close()


@contextlib.asynccontextmanager
async def open_outbound(app: web.Application) -> AsyncIterator[None]:
    """Open the one session for calls to other services. Close it at the end."""
    services = app[SERVICES]
    settings = services.settings
    async with open_session(settings) as session:
        services.outbound = session
        services.aggregator = Aggregator(
            session,
            {name: url.get_secret_value() for name, url in settings.upstreams.items()},
            concurrency=settings.aggregate_concurrency,
            timeout_s=settings.aggregate_timeout_s,
            max_bytes=settings.outbound_max_bytes,
        )
        yield


@contextlib.asynccontextmanager
async def write_failed_logins(app: web.Application) -> AsyncIterator[None]:
    """Write the failed logins that are not in the audit yet at the end, so that a restart does not hide guessing."""
    yield
    await app[SERVICES].failed_logins.close()


@contextlib.asynccontextmanager
async def finish_tasks(app: web.Application) -> AsyncIterator[None]:
    """Wait for background tasks at the end, at most for the shutdown timeout, while all that they use is still open."""
    services = app[SERVICES]
    yield
    await services.tasks.close(services.settings.shutdown_timeout_s)


@contextlib.asynccontextmanager
async def send_mails(app: web.Application) -> AsyncIterator[None]:
    """Send the mails of the outbox, those from before the last shutdown included, to the end."""
    services = app[SERVICES]
    settings, clock = services.settings, services.clock
    ttls: dict[Purpose, timedelta] = {
        "verify": timedelta(seconds=settings.verify_ttl_s),
        "move": timedelta(seconds=settings.verify_ttl_s),
        "reset": timedelta(seconds=settings.reset_ttl_s),
    }
    context = TemplateContext(settings.public_url, settings.mail_link_url, ttls)
    worker = services.mail_worker = MailWorker(
        services.store, build_mailer(settings, clock), clock, context, services.tasks, services.metrics
    )
    async with _running(worker.run(), "send mails"):
        yield


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a task of this name until the block ends; then cancel it and wait for its end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# Opened in this order, closed in the reverse one.
IN_ORDER: Final = (
    open_store,
    follow_keys,
    open_hasher,
    follow_log,
    open_outbound,
    write_failed_logins,  # after the tasks, which may add failures
    finish_tasks,
    send_mails,
)


async def end_streams(app: web.Application) -> None:
    """Ask every stream to reconnect later; runs before anything closes.

    A handler that is not asked would cost twice the shutdown timeout.
    """
    services = app[SERVICES]
    settings = services.settings
    services.bulk_jobs.end()
    await asyncio.gather(
        services.connections.drain(settings.drain_spread_s, settings.shutdown_timeout_s),
        services.echoes.drain(),
    )
