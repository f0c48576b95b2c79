"""gunicorn's worker process: aiohttp's for uvloop, put right in five places."""

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

_LOOK_AGAIN_S: Final = 0.05


class Worker(GunicornUVLoopWebWorker):
    """Serves what `service.server.serve.make_runner` returns until the master ends it.

    Attributes:
        slots: what the workers of the master share, set by its `pre_fork`; None where there is one worker.
    """

    slots: WorkerSlots | None = None
    _runner: Runner | None = None
    _slot: WorkerSlot | None = None
    _shared: Sequence[socket.socket] = ()
    _opening: asyncio.Task[None] | None = None

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Say what tells us to stop, and do."""
        if self._runner is not None:
            self._runner.request_shutdown(signal.Signals(sig))
        super().handle_quit(sig, frame)

    # gunicorn checks its own flag once a second; this also wakes the waiting task.
    handle_exit = handle_quit

    def run(self) -> None:
        """Serve. A setting that cannot be used is one line in the log, and the master does not try again."""
        # uvloop closes the descriptor of gunicorn's wrapper twice; by then it may belong to another socket.
        self.sockets = [socket.socket(fileno=listener.detach()) for listener in self.sockets]
        self.loop.call_soon(self._listen)
        make: Any = self.wsgi

        async def made() -> Runner:
            self._slot = None if self.slots is None else self.slots.claim()
            runner: Runner = await make(worker=self._slot)
            self._refuse_shared_limits(runner.app[SERVICES].settings)
            self._runner = runner
            if self._slot is not None:
                # aiohttp's worker opens a site on each of `sockets`; these are opened by `_share`.
                self._shared, self.sockets = self.sockets, []
            return runner

        self.wsgi = made  # type: ignore[assignment]  # for gunicorn it is WSGI, for aiohttp it makes a runner
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
        """Restore the configured backlog, as aiohttp listens again with 128; and log that the service is ready."""
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
            self.loop.call_later(_LOOK_AGAIN_S, self._listen)

    async def _share(self, runner: Runner, slot: WorkerSlot) -> None:
        """Open the listeners that all workers have, so that each accepts its part."""
        context = create_ssl_context(self)
        for listener in self._shared:
            await SharedSite(runner, listener, slot, runner.count_connections, context).start()
        runner.serving()
