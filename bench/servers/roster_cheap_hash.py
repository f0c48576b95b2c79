"""Roster as `python -m service` serves it, but for the cost of a password: a thousand logins would take a minute."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Final

import uvloop
from aiohttp import web

from service.app import create_app
from service.config.load import load
from service.security.argon2_hasher import Argon2Hasher
from service.server.runner import Runner
from service.telemetry import logs
from service.telemetry.access import AccessLog

_LEAST_MEMORY_KIB: Final = 8  # RFC 9106, 3.1: eight times the parallelism
_BACKLOG: Final = 2048


async def main() -> None:
    chosen = load()
    form = logs.choose_format(chosen.log_format, sys.stderr)
    writer = logs.set_up(chosen.log_level, form)
    access_log = AccessLog(writer, form)
    runner = Runner(create_app(chosen, hasher=Argon2Hasher(memory_kib=_LEAST_MEMORY_KIB), access_log=access_log))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await runner.setup()
        await web.TCPSite(runner, chosen.host, chosen.port, backlog=_BACKLOG).start()
        await stop.wait()
    finally:
        await runner.cleanup()
        access_log.close()
        writer.close()


if __name__ == "__main__":
    uvloop.run(main())
