"""gunicorn's worker process: aiohttp's for uvloop, put right in four places."""

from __future__ import annotations

import socket
import sys
from typing import Final

from aiohttp.worker import GunicornUVLoopWebWorker
from gunicorn.arbiter import Arbiter

from service.settings import SettingsError

_LOOK_AGAIN_S: Final = 0.05


class Worker(GunicornUVLoopWebWorker):
    """Serves what `service.serve.make_runner` returns until the master ends it."""

    # gunicorn's own flag is looked at once a second; this also wakes whoever looks.
    handle_exit = GunicornUVLoopWebWorker.handle_quit

    def run(self) -> None:
        """Serve. A setting that cannot be used is one line in the log, and the master does not try again."""
        # uvloop closes the descriptor of gunicorn's wrapper twice, and the second time it may be somebody else's.
        self.sockets = [socket.socket(fileno=listener.detach()) for listener in self.sockets]
        self.loop.call_soon(self._listen)
        try:
            super().run()
        except SettingsError as error:
            self.log.critical("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _listen(self) -> None:
        """Give the sockets back the backlog of the configuration: aiohttp listens anew, with 128."""
        if self.booted:
            for listener in self.sockets:
                listener.listen(self.cfg.backlog)
        else:
            self.loop.call_later(_LOOK_AGAIN_S, self._listen)
