"""The open echo connections: limited per network, and closed at shutdown."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from service.domain.errors import TooMany, Unavailable
from service.realtime import close_reasons

_CLOSE_S = 2.0


class Echoes:
    """The open connections of `/v1/echo`. `most`: connections of one network."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()
        self._sockets: set[web.WebSocketResponse] = set()
        self._draining = False

    @contextlib.contextmanager
    def place(self, network: str, socket: web.WebSocketResponse) -> Iterator[None]:
        """Hold a place for one connection. Raises `TooMany`, and `Unavailable` when the service is stopping."""
        if self._draining:
            raise Unavailable(2)
        if self._open[network] >= self._most:
            raise TooMany(10, "Too many echo connections from this address; close one first.")
        self._open[network] += 1
        self._sockets.add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)
            self._open[network] -= 1
            if not self._open[network]:
                del self._open[network]

    async def drain(self) -> None:
        """Close all of them, each within two seconds."""
        self._draining = True
        # aiohttp's senders share one wait for the socket: whose time is over cancels it for the others as well.
        await asyncio.gather(*(self._close(socket) for socket in self._sockets), return_exceptions=True)

    async def _close(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_CLOSE_S):
                await socket.close(code=close_reasons.RESTART.code, message=close_reasons.RESTART.reason.encode())
