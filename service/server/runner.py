"""Runs the application, and shuts it down in order: readiness, streams, requests, then connections.

Logs when the service starts to serve, when a shutdown is requested, and when it is complete.
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
_POLL_INTERVAL_S: Final = 0.02


class Runner(ReplacingRunner):
    """aiohttp's runner with production's options, and an ordered shutdown.

    Once aiohttp closes connections, it drops the bytes that arrive on them: the rest of a request body, and the close frame with
    which a WebSocket client answers ours. So this runner first ends the streams and waits for the bodies.

    Args:
        close_log: called after everything else has closed.
    """

    def __init__(self, app: web.Application, close_log: Callable[[], None] = lambda: None) -> None:
        self._close_log = close_log
        self._serving_since: float | None = None
        self._shutdown_requested_at: float | None = None
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
        """Log that the service accepts requests. Call it once the sites have started."""
        self._serving_since = time.monotonic()
        settings = self.app[SERVICES].settings
        where = [_format_address(address) for address in self.addresses]
        log.info("serving", extra={"addresses": where, "store": settings.store_kind, "version": __version__})
        if not settings.metrics_token:
            log.info("/metrics returns 404: ROSTER_METRICS_TOKEN is not set")

    def request_shutdown(self, number: signal.Signals) -> None:
        """Log the signal that requests the shutdown. Only the first one is logged."""
        if self._shutdown_requested_at is None:
            self._shutdown_requested_at = time.monotonic()
            log.info("shutdown requested", extra={"signal": number.name})

    async def cleanup(self) -> None:
        """Fail readiness, wait, accept no more connections, end streams, answer requests, close resources: in this order.

        Every step has a deadline.
        """
        try:
            if self.sites:
                # Load balancers learn from readiness to send requests elsewhere; until then requests are answered.
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
                self._log_end()

    def _log_end(self) -> None:
        since, requested_at = self._serving_since, self._shutdown_requested_at
        if since is not None or requested_at is not None:
            now = time.monotonic()
            took_s = None if requested_at is None else round(now - requested_at, 3)
            served_s = None if since is None else round(now - since)
            log.info("shutdown complete", extra={"took_s": took_s, "served_s": served_s})
            self._serving_since = self._shutdown_requested_at = None
        self._close_log()

    async def shutdown(self) -> None:
        """Do nothing: `cleanup` has sent `on_shutdown` before aiohttp would."""

    async def _drain(self, server: web.Server) -> None:
        # Meanwhile keep-alive connections get the answer to their last request, with `Connection: close`.
        settings = self.app[SERVICES].settings
        began = time.monotonic()
        await self.app.shutdown()
        # Requests and streams share one timeout, and a second.
        late_s = max(time.monotonic() - began - settings.drain_spread_s, 0)
        closing = asyncio.create_task(_close_idle(server), name="close idle connections")
        try:
            await _wait_for_responses(
                server, max(settings.shutdown_timeout_s - late_s, min(_LEAST_S, settings.shutdown_timeout_s))
            )
        finally:
            closing.cancel()
            await asyncio.wait((closing,))
            _close_idle_now(server)


def _format_address(address: Any) -> str:
    """The address of a listener: host and port, or the path of a Unix socket."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _close_idle(server: web.Server) -> None:
    """Close idle keep-alive connections while others are busy, so that clients connect elsewhere. Runs until cancelled."""
    while True:
        await asyncio.sleep(_POLL_INTERVAL_S)  # requests that have arrived already are taken first
        _close_idle_now(server)


def _close_idle_now(server: web.Server) -> None:
    idle = {}
    for connection in server.connections:
        if connection.transport is not None and is_idle(connection):
            idle[connection.transport.get_extra_info("socket").fileno()] = connection
    for descriptor in _without_input(idle):
        # `close` would leave the connection open without reading: a request on it would fail when the process ends.
        idle[descriptor].force_close()


def _without_input(descriptors: Iterable[int]) -> set[int]:
    """The descriptors on which no bytes wait to be read.

    An event loop that ends a thousand streams reads late. A client cannot distinguish a request that was dropped from one that
    was executed, so connections with unread bytes stay open.
    """
    poll, waiting = select.poll(), set(descriptors)
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    return waiting - {descriptor for descriptor, _ in poll.poll(0)}


async def _wait_for_responses(server: web.Server, timeout_s: float) -> None:
    """Wait until the requests in flight are answered, at most for the timeout. New requests do not count."""
    asked = [(connection, current_request(connection)) for connection in server.connections]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and any(  # noqa: ASYNC110  # aiohttp has no event for it
        request is not None and current_request(connection) is request for connection, request in asked
    ):
        await asyncio.sleep(_POLL_INTERVAL_S)
