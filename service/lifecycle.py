"""What opens before the service answers, and closes after it: each part of the application with its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from aiohttp import web

from service import keys
from service.adapters import chosen_mailer
from service.domain import accounts
from service.domain.accounts import NewUser
from service.domain.errors import Invalid, Taken, Unavailable
from service.domain.idempotency import Keys
from service.domain.letters import Letterhead
from service.domain.mail import Purpose
from service.domain.passwords import refuse_common
from service.outbound.aggregate import Aggregator
from service.outbound.postbox import Postbox
from service.outbound.session import open_session
from service.security.cursors import Cursors
from service.security.keys import UnusableKey, made
from service.settings import PREFIX, SettingsError

log = logging.getLogger("roster")


@contextlib.asynccontextmanager
async def open_store(app: web.Application) -> AsyncIterator[None]:
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
async def follow_keys(app: web.Application) -> AsyncIterator[None]:
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
async def make_admin(app: web.Application) -> AsyncIterator[None]:
    """Make the first administrator, so that somebody can let others in."""
    settings, hasher = app[keys.SETTINGS], app[keys.HASHER]
    password = settings.admin_password or secrets.token_urlsafe(12)
    admin = NewUser(settings.admin_username, settings.admin_email, role="admin", password=password)
    try:
        made = await accounts.ensure_admin(app[keys.STORE], hasher, app[keys.CLOCK], admin)
    except Taken as error:
        made = False
        app[keys.ADMIN] = "missing"
        log.error("there is no administrator: set another ROSTER_ADMIN_USERNAME or ROSTER_ADMIN_EMAIL; %s", error)
    else:
        app[keys.ADMIN] = "made" if made else "found"
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
async def follow_log(app: web.Application) -> AsyncIterator[None]:
    """Follow the log, and look after those who read it."""
    hub, rooms = app[keys.HUB], app[keys.ROOMS]
    await hub.open()
    watch = app[keys.CONNECTIONS].watch(hub.check, rooms.sweep, app[keys.USES].look, app[keys.TOLD_FAILURES].look)
    tasks = [asyncio.create_task(hub.follow(), name="follow the log"), asyncio.create_task(watch, name="watch streams")]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rooms.close()


@contextlib.asynccontextmanager
async def open_outbound(app: web.Application) -> AsyncIterator[None]:
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
async def send_mails(app: web.Application) -> AsyncIterator[None]:
    """Send mails that wait, those of before the last stop among them."""
    settings, clock = app[keys.SETTINGS], app[keys.CLOCK]
    ttls: dict[Purpose, timedelta] = {
        "verify": timedelta(seconds=settings.verify_ttl_s),
        "move": timedelta(seconds=settings.verify_ttl_s),
        "reset": timedelta(seconds=settings.reset_ttl_s),
    }
    head = Letterhead(settings.public_url, settings.mail_link_url, ttls)
    postbox = app[keys.POSTBOX] = Postbox(
        app[keys.STORE], chosen_mailer(settings, clock), clock, head, app[keys.TASKS], app[keys.METRICS]
    )
    sending = asyncio.create_task(postbox.run(), name="send mails")
    yield
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@contextlib.asynccontextmanager
async def finish_tasks(app: web.Application) -> AsyncIterator[None]:
    """Bring to its end what was begun, before anything that it uses closes."""
    yield
    await app[keys.TASKS].close(app[keys.SETTINGS].shutdown_timeout_s)


@contextlib.asynccontextmanager
async def tell_failures(app: web.Application) -> AsyncIterator[None]:
    """Write what has failed since the last look: a stop must not hide who came before it."""
    yield
    await app[keys.TOLD_FAILURES].close()


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
    """Tell every stream to come back later; a handler that is not told costs twice the shutdown timeout."""
    settings = app[keys.SETTINGS]
    app[keys.TRANSFERS].end()
    await asyncio.gather(
        app[keys.CONNECTIONS].drain(settings.drain_spread_s, settings.shutdown_timeout_s), app[keys.ECHOES].drain()
    )
