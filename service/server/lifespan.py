"""The parts of the application that open before the first request and close after the last one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from aiohttp import web

from service.adapters import build_mailer
from service.config.settings import PREFIX, SettingsError
from service.delivery.mail_worker import MailWorker
from service.domain.auth.password_policy import reject_common
from service.domain.errors import AlreadyExists, Invalid, Unavailable
from service.domain.idempotency.claims import IdempotencyKeys
from service.domain.mail.mail import Purpose
from service.domain.mail.templates import TemplateContext
from service.domain.users import accounts
from service.domain.users.accounts import NewUser
from service.http.services import SERVICES
from service.outbound.aggregate import Aggregator
from service.outbound.session import open_session
from service.security.cursors import Cursors
from service.security.keys import UnusableKey, generate_key

log = logging.getLogger("roster")


@contextlib.asynccontextmanager
async def open_store(app: web.Application) -> AsyncIterator[None]:
    """Open the store, and take from it the secrets that all who use it share."""
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
    """Where no setting names the keys of access tokens, take them from the store, and follow those that others make."""
    services = app[SERVICES]
    store, keyring = services.store, services.keyring
    if not keyring.is_kept:
        yield
        return
    moment = services.clock()
    await store.signing_keys.add_if_none(generate_key("HS256", moment, moment))
    try:
        await keyring.look()
    except UnusableKey as error:
        raise SettingsError(f"a key of access tokens in the store {error}") from None
    task = asyncio.create_task(keyring.follow(), name="follow the keys")
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def make_admin(app: web.Application) -> AsyncIterator[None]:
    """Create the first administrator, who can create other users."""
    services = app[SERVICES]
    settings, hasher = services.settings, services.hasher
    password = settings.admin_password.get_secret_value() or secrets.token_urlsafe(12)
    admin = NewUser(settings.admin_username, settings.admin_email, role="admin", password=password)
    try:
        made = await accounts.ensure_admin(services.store, hasher, services.clock, admin)
    except AlreadyExists as error:
        made = False
        services.admin_state = "missing"
        log.error("no administrator exists; set another ROSTER_ADMIN_USERNAME or ROSTER_ADMIN_EMAIL; %s", error)
    else:
        services.admin_state = "created" if made else "found"
    # A generated password is shown once; a configured one is known already.
    if made and _is_common(admin):
        log.warning("the administrator's password is a common one; change it")
    services.generated_password = password if made and not settings.admin_password else None
    yield
    hasher.close()


def _is_common(admin: NewUser) -> bool:
    try:
        reject_common(admin.password or "", admin.username, admin.email)
    except Invalid:
        return True
    return False


@contextlib.asynccontextmanager
async def follow_log(app: web.Application) -> AsyncIterator[None]:
    """Follow the log, and watch the open streams."""
    services = app[SERVICES]
    hub, rooms = services.hub, services.rooms
    await hub.open()
    await rooms.open()
    watch = services.connections.watch(hub.check, rooms.sweep, services.token_usage.look, services.failed_logins.look)
    tasks = [asyncio.create_task(hub.follow(), name="follow the log"), asyncio.create_task(watch, name="watch streams")]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await rooms.close()


@contextlib.asynccontextmanager
async def open_outbound(app: web.Application) -> AsyncIterator[None]:
    """The one session for calls out."""
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
async def send_mails(app: web.Application) -> AsyncIterator[None]:
    """Send mails that wait, those of before the last stop among them."""
    services = app[SERVICES]
    settings, clock = services.settings, services.clock
    ttls: dict[Purpose, timedelta] = {
        "verify": timedelta(seconds=settings.verify_ttl_s),
        "move": timedelta(seconds=settings.verify_ttl_s),
        "reset": timedelta(seconds=settings.reset_ttl_s),
    }
    head = TemplateContext(settings.public_url, settings.mail_link_url, ttls)
    postbox = services.mail_worker = MailWorker(
        services.store, build_mailer(settings, clock), clock, head, services.tasks, services.metrics
    )
    sending = asyncio.create_task(postbox.run(), name="send mails")
    yield
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@contextlib.asynccontextmanager
async def finish_tasks(app: web.Application) -> AsyncIterator[None]:
    """Bring to its end what was begun, before anything that it uses closes."""
    services = app[SERVICES]
    yield
    await services.tasks.close(services.settings.shutdown_timeout_s)


@contextlib.asynccontextmanager
async def tell_failures(app: web.Application) -> AsyncIterator[None]:
    """Write what has failed since the last look: a stop must not hide who came before it."""
    yield
    await app[SERVICES].failed_logins.close()


# Opened in this order, closed in the reverse one.
IN_ORDER: Final = (
    open_store,
    follow_keys,
    make_admin,
    follow_log,
    open_outbound,
    tell_failures,
    finish_tasks,
    send_mails,
)


async def end_streams(app: web.Application) -> None:
    """Ask every stream to reconnect later; a handler that is not asked costs twice the shutdown timeout."""
    services = app[SERVICES]
    settings = services.settings
    services.bulk_jobs.end()
    await asyncio.gather(
        services.connections.drain(settings.drain_spread_s, settings.shutdown_timeout_s),
        services.echoes.drain(),
    )
