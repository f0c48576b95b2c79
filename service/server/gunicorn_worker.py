"""gunicorn's worker process: aiohttp's worker for uvloop, with five corrections."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from aiohttp.worker import GunicornUVLoopWebWorker
from gunicorn.arbiter import Arbiter

from service.config.settings import PREFIX, Settings, SettingsError
from service.http.aiohttp_compat import create_ssl_context
from service.http.services import SERVICES
from service.server.runner import Runner
from service.server.workers.accept import SharedSite
from service.server.workers.slots import WorkerSlot, WorkerSlots

_POLL_INTERVAL_S: Final = 0.05


class Worker(GunicornUVLoopWebWorker):
    """Serves the runner of `service.server.serve.make_runner` until the master ends the worker.

    Attributes:
        slots: places of all workers of the master, set by its `pre_fork`; None for a single worker.
    """

    slots: WorkerSlots | None = None
    _runner: Runner | None = None
    _slot: WorkerSlot | None = None
    _shared: Sequence[socket.socket] = ()
    _opening: asyncio.Task[None] | None = None

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Log the signal that requests the shutdown, and begin it."""
        if self._runner is not None:
            self._runner.request_shutdown(signal.Signals(sig))
        super().handle_quit(sig, frame)

    # gunicorn checks its own flag once a second; this also wakes the waiting task.
    handle_exit = handle_quit

    def run(self) -> None:
        """Serve. An invalid setting is one line in the log, and the master does not restart the worker."""
        # uvloop closes the descriptor of gunicorn's wrapper twice; by then it may belong to another socket.
        self.sockets = [socket.socket(fileno=listener.detach()) for listener in self.sockets]
        self.loop.call_soon(self._listen)
        make: Any = self.wsgi

        async def create_runner() -> Runner:
            self._slot = None if self.slots is None else self.slots.claim()
            runner: Runner = await make(worker=self._slot)
            self._refuse_shared_limits(runner.app[SERVICES].settings)
            self._runner = runner
            if self._slot is not None:
                # aiohttp's worker opens a site on each of `sockets`; these are opened by `_share`.
                self._shared, self.sockets = self.sockets, []
            return runner

        self.wsgi = create_runner  # type: ignore[assignment]  # gunicorn takes a WSGI application; aiohttp calls it for a runner
        try:
            super().run()
        except SettingsError as error:
            self.log.critical("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _refuse_shared_limits(self, settings: Settings) -> None:
        """Raise `SettingsError` where clients of a Unix socket, which have no address, would share every limit."""
        if settings.trusts_unix_sockets:
            return
        for listener in self.sockets:
            if listener.family == socket.AF_UNIX:
                raise SettingsError(
                    f"{PREFIX}TRUSTED_PROXIES={json.dumps(settings.trusted_proxies)}: all clients of the Unix socket "
                    f'{listener.getsockname()} would share one limit. Add "unix" to the list if a proxy in front of the '
                    "socket names its clients, else listen on TCP."
                )

    def _listen(self) -> None:
        """Restore the configured backlog, because aiohttp listens again with 128. Then log that the service accepts requests."""
        if not self.alive:
            return
        if self.booted:
            for listener in self.sockets:
                listener.listen(self.cfg.backlog)
            if self._slot is not None and self._runner is not None:
                self._opening = self.loop.create_task(self._share(self._runner, self._slot), name="open the listeners")
            elif self._runner is not None:
                self._runner.serving()
        else:
            self.loop.call_later(_POLL_INTERVAL_S, self._listen)

    async def _share(self, runner: Runner, slot: WorkerSlot) -> None:
        """Open the listeners that all workers share, so that each worker accepts its share of connections."""
        context = create_ssl_context(self)
        for listener in self._shared:
            await SharedSite(runner, listener, slot, runner.count_connections, context).start()
        runner.serving()
