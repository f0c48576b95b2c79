"""The one runner that `python -m service`, gunicorn and the tests all use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import Final

from aiohttp import web

from service import keys, settings
from service.app import create_app
from service.domain.ports import Hasher
from service.settings import PREFIX, Settings, SettingsError, unknown_variables
from service.telemetry import logs
from service.telemetry.access import AccessLog

log = logging.getLogger("roster")

_BACKLOG: Final = 2048


async def make_runner(chosen: Settings | None = None, *, hasher: Hasher | None = None) -> web.AppRunner:
    """The application, ready to be set up on sockets.

    Args:
        chosen: None reads them from the environment, takes over logging and tells of made passwords in the log: what a
            process that serves does. Tests give theirs and keep their own logging.
        hasher: as for `create_app`.
    """
    if chosen is not None:
        return _runner(create_app(chosen, hasher=hasher), chosen)
    chosen = settings.load()
    form = logs.chosen_format(chosen.log_format, sys.stderr)
    writer = logs.set_up(chosen.log_level, form)
    for name in unknown_variables():
        log.warning("no setting has this name", extra={"variable": name})
    access_log = AccessLog(logs.Batch(writer), form) if log.isEnabledFor(logging.INFO) else None
    app = create_app(chosen, access_log=access_log)

    async def close_log(_: web.Application) -> None:
        writer.close()

    app.on_cleanup.append(close_log)
    return _runner(app, chosen)


async def make_worker() -> web.AppRunner:
    """For gunicorn: says in the log what `python -m service` says on the terminal."""
    runner = await make_runner()

    async def announce(app: web.Application) -> None:
        password = app[keys.MADE_PASSWORD]
        if password is not None:
            extra = {"login": app[keys.SETTINGS].admin_username, "password": password}
            log.warning("first administrator made; this password is shown once", extra=extra)

    runner.app.on_startup.append(announce)
    return runner


def _runner(app: web.Application, chosen: Settings) -> web.AppRunner:
    return web.AppRunner(
        app,
        # A client that leaves a quiet stream is noticed at once, not at the next write. Writes are shielded.
        handler_cancellation=True,
        # A handler that does not end by itself costs this twice: it is told, then cancelled.
        shutdown_timeout=chosen.shutdown_timeout_s,
        # aiohttp's own default keeps half-sent headers for an hour.
        keepalive_timeout=chosen.keepalive_s,
        # One line a request is written by our own middleware, in a quarter of the time.
        access_log=None,
    )


async def serve(chosen: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM; the second one ends at once. Raises `SettingsError`, OSError for the port."""
    runner = await make_runner(chosen)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.exit(1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        await runner.setup()
        settled = runner.app[keys.SETTINGS]
        site = web.TCPSite(runner, settled.host, settled.port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}HOST={settled.host!r} {PREFIX}PORT={settled.port}: cannot listen there ({error.strerror})"
            ) from None
        with contextlib.suppress(OSError):  # nobody reads what is printed
            sys.stdout.write(banner(runner.app, site.port))
            sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def banner(app: web.Application, port: int) -> str:
    """What a person who has just started the service wants to know."""
    settled = app[keys.SETTINGS]
    host = "127.0.0.1" if settled.host in ("0.0.0.0", "::", "") else settled.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    password = app[keys.MADE_PASSWORD]
    shown = f"password {password}  (made now, shown once)" if password else "password as you set it"
    return (
        f"\n  Roster serves on {address}\n\n"
        f"  start page  {address}/\n"
        f"  API docs    {address}/docs\n"
        f"  admin       login {settled.admin_username}  {shown}\n"
        f"  data        kept in memory: it is gone when this process ends\n\n"
    )
