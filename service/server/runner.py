"""How the service comes to its end: readiness first, then streams, then requests, while their connections are read.

And what the log tells of both, its beginning and its end.
"""

from __future__ import annotations

import asyncio
import logging
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import web

from service import __version__
from service.http.aiohttp_compat import ReplacingRunner, current_request, is_idle, set_server_name
from service.http.services import SERVICES
from service.server.http_protocol import HttpServer
from service.server.peers import Peers
from service.server.unread_responses import UnreadResponses

log = logging.getLogger("roster")

_CANCEL_S: Final = 1.0
_LEAST_S: Final = 1.0
_LOOK_AGAIN_S: Final = 0.02


class Runner(ReplacingRunner):
    """aiohttp's runner, with what production needs, and an order of its own at the end.

    As soon as aiohttp's begins to close connections, it drops whatever arrives on them: the rest of a body that is on its
    way, and the answer of a WebSocket's peer to our close. So streams end, and bodies arrive, before that.

    Args:
        close_log: called when all else has closed.
    """

    def __init__(self, app: web.Application, close_log: Callable[[], None] = lambda: None) -> None:
        self._close_log = close_log
        self._serving_since: float | None = None
        self._told_at: float | None = None
        self._watching: asyncio.Task[None] | None = None
        self._http: HttpServer | None = None
        set_server_name("roster")  # without a version (ASVS 13.4.6)
        super().__init__(
            app,
            # A client that leaves a quiet stream is noticed at once, not at the next write. Writes are shielded.
            handler_cancellation=True,
            # A handler that is still running after `shutdown_timeout_s` costs this time twice: it is asked to end, then cancelled.
            shutdown_timeout=_CANCEL_S,
            # aiohttp's own default keeps half-sent headers for an hour.
            keepalive_timeout=app[SERVICES].settings.keepalive_s,
            # One line a request is written by our own middleware, in a quarter of the time.
            access_log=None,
            # Views decode bodies: aiohttp takes a gzip body without its trailer as whole.
            auto_decompress=False,
        )

    def replace_server(self, server: web.Server) -> web.Server:
        """Bound connections and request heads, and watch for responses that are not read."""
        services = self.app[SERVICES]
        settings, metrics = services.settings, services.metrics
        peers = Peers(
            settings.connections_per_network,
            settings.proxies,
            lambda reason: metrics.connections_refused.labels(reason).inc(),
            metrics.descriptors_exhausted.inc,
        )
        http = self._http = HttpServer(server, peers, settings.head_timeout_s)
        unread = UnreadResponses(settings.slow_client_timeout_s, services.connections.transports)
        self._watching = asyncio.create_task(unread.watch(http.find_transports), name="watch unread responses")
        return http

    def count_connections(self) -> int:
        """How many connections are open."""
        return 0 if self._http is None else self._http.count_connections()

    def serving(self) -> None:
        """Say in the log that requests are taken from here on, and later that no more are; once the sites have started."""
        self._serving_since = time.monotonic()
        settings = self.app[SERVICES].settings
        where = [_shown(address) for address in self.addresses]
        log.info("serving", extra={"addresses": where, "store": settings.store_kind, "version": __version__})
        if not settings.metrics_token:
            log.info("/metrics returns 404: ROSTER_METRICS_TOKEN is not set")

    def request_shutdown(self, number: signal.Signals) -> None:
        """Log the signal that requests the shutdown. The first one is logged."""
        if self._told_at is None:
            self._told_at = time.monotonic()
            log.info("shutdown requested", extra={"signal": number.name})

    async def cleanup(self) -> None:
        """Fail readiness, wait, take no more connections, end streams, answer requests, close resources, in this order.

        Bounded at every step.
        """
        try:
            if self.sites:
                # Who sends requests here learns from readiness that it should not; until then they are answered.
                services = self.app[SERVICES]
                services.connections.shutting_down = True
                await asyncio.sleep(services.settings.drain_delay_s)
            for site in self.sites:
                await site.stop()
            if self.server is not None:
                await self._drain(self.server)
        finally:
            try:
                await super().cleanup()
            finally:
                if self._watching is not None:
                    self._watching.cancel()
                    await asyncio.wait((self._watching,))
                self._stopped()

    def _stopped(self) -> None:
        since, told_at = self._serving_since, self._told_at
        if since is not None or told_at is not None:
            now = time.monotonic()
            took_s = None if told_at is None else round(now - told_at, 3)
            served_s = None if since is None else round(now - since)
            log.info("shutdown complete", extra={"took_s": took_s, "served_s": served_s})
            self._serving_since = self._told_at = None
        self._close_log()

    async def shutdown(self) -> None:
        """Does nothing: where aiohttp's sends `on_shutdown`, `cleanup` has sent it already."""

    async def _drain(self, server: web.Server) -> None:
        # Meanwhile keep-alive connections get the answer to their last request, with `Connection: close`.
        settings = self.app[SERVICES].settings
        began = time.monotonic()
        await self.app.shutdown()
        # Requests had the same time as streams that did not go; so both together end within one timeout, and a second.
        late_s = max(time.monotonic() - began - settings.drain_spread_s, 0)
        closing = asyncio.create_task(_close_idle(server), name="close idle connections")
        try:
            await _answer(server, max(settings.shutdown_timeout_s - late_s, min(_LEAST_S, settings.shutdown_timeout_s)))
        finally:
            closing.cancel()
            await asyncio.wait((closing,))
            _close_silent(server)


def _shown(address: Any) -> str:
    """Where a socket listens: host and port, or the path of one of Unix."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _close_idle(server: web.Server) -> None:
    """Have kept-alive connections ask elsewhere, for as long as others are busy. Runs until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_AGAIN_S)  # what has arrived before the first look begins to be answered
        _close_silent(server)


def _close_silent(server: web.Server) -> None:
    idle = {}
    for connection in server.connections:
        if connection.transport is not None and is_idle(connection):
            idle[connection.transport.get_extra_info("socket").fileno()] = connection
    for descriptor in _silent(idle):
        # `close` would leave it open and deaf: what is sent on it would be answered by the end of the process.
        idle[descriptor].force_close()


def _silent(descriptors: Iterable[int]) -> set[int]:
    """Those on which nothing has arrived: a loop that ends a thousand streams is late to read what has, and a client cannot
    tell a request that was thrown away from one that was carried out."""
    poll, silent = select.poll(), set(descriptors)
    for descriptor in silent:
        poll.register(descriptor, select.POLLIN)
    return silent - {descriptor for descriptor, _ in poll.poll(0)}


async def _answer(server: web.Server, timeout_s: float) -> None:
    """Wait until the requests in flight are answered, at most for the timeout. New requests do not count."""
    asked = [(connection, current_request(connection)) for connection in server.connections]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and any(  # noqa: ASYNC110  # there is no event for it either
        request is not None and current_request(connection) is request for connection, request in asked
    ):
        await asyncio.sleep(_LOOK_AGAIN_S)
