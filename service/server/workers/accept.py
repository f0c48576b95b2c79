"""Accepts connections so that each worker gets its share.

With one shared listener the worker that wakes first takes all that waits: of 1,000 connections at once the busiest of four
workers held 1.6 to 2 times the mean.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from ssl import SSLContext
from typing import Final

from aiohttp import web

from service.http.aiohttp_compat import AcceptorSite
from service.server.workers.slots import WorkerSlot

log = logging.getLogger("roster")

_MOST_AT_ONCE: Final = 4
_WAIT_S: Final = 0.01
_REPORT_S: Final = 0.1
_EXHAUSTED_S: Final = 1.0
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor(asyncio.AbstractServer):
    """Accepts on one listener that other workers share, while this worker has not much more than the least busy one.

    Args:
        protocol: makes what serves a connection.
        count: how many connections this worker holds.
    """

    def __init__(
        self,
        listener: socket.socket,
        slot: WorkerSlot,
        protocol: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        ssl_context: SSLContext | None,
    ) -> None:
        self.sockets = (listener,)
        self._listener = listener
        self._slot = slot
        self._protocol = protocol
        self._count = count
        self._ssl_context = ssl_context
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self._reporting: asyncio.TimerHandle | None = None
        self._is_open = True
        listener.setblocking(False)
        self._report()
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more. The listener stays open: it is the other workers' too."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._listener)
        for timer in (self._waiting, self._reporting):
            if timer is not None:
                timer.cancel()
        self._slot.withdraw()

    async def wait_closed(self) -> None:
        """Return when the connections that were accepted are open."""
        if self._opening:
            await asyncio.wait(self._opening)

    async def start_serving(self) -> None:
        """Does nothing: it serves from the beginning."""

    async def serve_forever(self) -> None:
        """Does not belong to a listener that ends with its worker."""
        raise NotImplementedError

    def is_serving(self) -> bool:
        return self._is_open

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def _report(self) -> int:
        connections = self._count() + len(self._opening)
        self._slot.report(connections)
        if self._reporting is not None:
            self._reporting.cancel()
        self._reporting = self._loop.call_later(_REPORT_S, self._report)
        return connections

    def _accept(self) -> None:
        connections = self._report()
        for _ in range(_MOST_AT_ONCE):
            least = self._slot.find_least()
            if least is not None and connections > 1.05 * least + 8:
                self._wait(_WAIT_S)
                return
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another worker was quicker, or the client has left
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.error("cannot accept connections; will retry in a second", extra={"error": str(error)})
                self._wait(_EXHAUSTED_S)
                return
            connections += 1
            connection.setblocking(False)
            opening = self._loop.create_task(self._open(connection), name="open a connection")
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
            self._slot.report(connections)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._ssl_context)
        except (OSError, TimeoutError):
            connection.close()  # the client left during the handshake

    def _wait(self, seconds: float) -> None:
        # Until then another worker takes what waits. The listener is level-triggered: without this the loop would spin.
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listener, self._accept)


class SharedSite(AcceptorSite):
    """A site of aiohttp's runner on a listener that other workers share."""

    def __init__(
        self,
        runner: web.BaseRunner,
        listener: socket.socket,
        slot: WorkerSlot,
        count: Callable[[], int],
        ssl_context: SSLContext | None,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context)
        self._listener = listener
        self._slot = slot
        self._count = count
        self._tls = ssl_context

    @property
    def name(self) -> str:
        return f"{self._listener.getsockname()}"

    def accept(self, server: web.Server) -> Acceptor:
        return Acceptor(self._listener, self._slot, server, self._count, self._tls)
