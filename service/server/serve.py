"""The one runner that `python -m service`, gunicorn and the tests all use."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from aiohttp import web

from service.adapters import build_hasher
from service.app import create_app
from service.config.load import load, unknown_variables
from service.config.settings import (
    PREFIX,
    Settings,
    SettingsError,
)
from service.domain.ports import Store
from service.http.services import SERVICES
from service.security.hash_admission import ProcessHasher
from service.server import memory
from service.server.listener import find_free_port, open_listener, reachable_host
from service.server.runner import Runner
from service.server.workers.metric_pages import MetricPages
from service.server.workers.slots import WorkerSlot
from service.telemetry import logs
from service.telemetry.access import AccessLog
from service.telemetry.exposition import render

log = logging.getLogger("roster")

_BACKLOG: Final = 2048


async def make_runner(
    chosen: Settings | None = None,
    *,
    store: Store | None = None,
    hasher: ProcessHasher | None = None,
    worker: WorkerSlot | None = None,
) -> web.AppRunner:
    """The application, ready to be set up on sockets.

    Args:
        chosen: settings. With None, as from gunicorn, they are read from the environment, logging is set up, and a generated
            password is logged. Tests pass settings and keep their own logging.
        store, hasher: as for `create_app`.
        worker: the place of this process among several workers; None where there is one.

    Raises `SettingsError`.
    """
    if chosen is not None:
        return Runner(create_app(chosen, store=store, hasher=hasher))
    runner = _process_runner(worker)
    runner.app.on_startup.append(_log_password)
    if worker is not None:
        runner.app.cleanup_ctx.append(partial(_share_metrics, worker))
    return runner


def _process_runner(worker: WorkerSlot | None = None) -> Runner:
    """The runner of a whole process: settings come from the environment, and all logging goes through one writer."""
    chosen = load()
    form = logs.choose_format(chosen.log_format, sys.stderr)
    writer = logs.set_up(chosen.log_level, form, worker=None if worker is None else worker.number)
    for unknown in unknown_variables():
        extra = {"variable": unknown.name, "where": unknown.where, "nearest": unknown.nearest}
        log.warning("unknown environment variable", extra=extra)
    access_log = AccessLog(writer, form) if log.isEnabledFor(logging.INFO) else None
    app = create_app(chosen, hasher=build_hasher(chosen, worker), access_log=access_log)

    def close_log() -> None:
        if access_log is not None:
            access_log.close()
        writer.close()

    app.on_startup.append(_freeze_gc)
    return Runner(app, close_log)


@contextlib.asynccontextmanager
async def _share_metrics(worker: WorkerSlot, app: web.Application) -> AsyncIterator[None]:
    """Answer other workers that collect the metrics of the host."""
    services = app[SERVICES]
    pages = MetricPages(worker, lambda accept: render(services.metrics.registry, accept)[0])
    await pages.open()
    services.metric_pages = pages
    yield
    await pages.close()


async def _freeze_gc(_: web.Application) -> None:
    memory.freeze_gc()


async def _log_password(app: web.Application) -> None:
    """Log the generated password of the first administrator, which `serve` prints on the terminal."""
    services = app[SERVICES]
    password = services.generated_password
    if password is not None:
        extra = {"login": services.settings.admin_username, "password": password}
        # The password is needed to log in, so it is written at every log level.
        level = max(logging.WARNING, log.getEffectiveLevel())
        log.log(level, "first administrator created; its password is shown once", extra=extra)


async def serve() -> None:
    """Serve until SIGINT or SIGTERM; a second signal exits at once. Raises `SettingsError`, also for a port in use."""
    chosen = load()
    if chosen.workers != 1:
        raise SettingsError(
            f"{PREFIX}WORKERS={chosen.workers}: this command is one process. Set {PREFIX}WORKERS=1, or start gunicorn with "
            f"gunicorn.conf.py; {PREFIX}HASH_WORKERS gives more threads that hash passwords."
        )
    runner = _process_runner()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            sys.exit(1)
        runner.request_shutdown(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    try:
        await runner.setup()
        settled = runner.app[SERVICES].settings
        try:
            listener = open_listener(settled.host, settled.port, _BACKLOG)
            if listener is not None:
                await web.SockSite(runner, listener, backlog=_BACKLOG).start()
            else:
                await web.TCPSite(runner, settled.host, settled.port, backlog=_BACKLOG).start()
        except OSError as error:
            raise SettingsError(_cannot_listen(settled, error)) from None
        runner.serving()
        with contextlib.suppress(OSError):  # stdout is closed
            sys.stdout.write(banner(runner.app, runner.addresses[0][1]))
            sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _cannot_listen(settled: Settings, error: OSError) -> str:
    sentence = f"{PREFIX}HOST={settled.host!r} {PREFIX}PORT={settled.port}: cannot listen there ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        free = find_free_port(settled.host, settled.port)
        sentence += f"; {PREFIX}PORT={free} is free" if free is not None else ""
    return sentence


def banner(app: web.Application, port: int) -> str:
    """The lines that the command prints after the start."""
    services = app[SERVICES]
    settled = services.settings
    address = f"http://{reachable_host(settled.host)}:{port}"
    password = services.generated_password
    shown = (
        f"password {password}  (generated now, shown once)" if password else f"password as {PREFIX}ADMIN_PASSWORD says"
    )
    admin = {
        "created": f"login {settled.admin_username}  {shown}",
        "found": "as before; its password was shown, or set, at the first start (lost: docs/auth.md)",
        "missing": "there is none, as the log says",
    }[services.admin_state]
    kept = "kept in memory: it is gone when this process ends"
    if settled.sqlite_path is not None:
        kept = f"kept in {settled.sqlite_path}"
    elif settled.store_kind == "postgresql":
        kept = "kept in PostgreSQL"
    return (
        f"\n  Roster serves on {address}\n\n"
        f"  start page  {address}/\n"
        f"  API docs    {address}/docs\n"
        f"  admin       {admin}\n"
        f"  data        {kept}\n\n"
    )
