"""Responses that their clients do not read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from service.server.http_protocol import HttpProtocol

log = logging.getLogger("roster")

_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Unread:
    """The send buffer of a connection.

    Attributes:
        drains: how often the buffer had drained before.
        since: from when on the client has taken nothing of it, in seconds.
    """

    size: int
    drains: int
    since: float


class UnreadResponses:
    """Aborts connections whose clients take nothing of a response for too long.

    aiohttp waits without a deadline for the client to take a response, and so does closing the connection: a client that
    does not read holds memory and a descriptor. Streams are exempt, because `ConnectionRegistry` ends them with a reason.

    Args:
        slow_client_timeout_s: seconds for which a client may take nothing.
        find_streams: the transports of open streams.
    """

    def __init__(self, slow_client_timeout_s: float, find_streams: Callable[[], Collection[asyncio.Transport]]) -> None:
        self.check_interval_s = min(1.0, slow_client_timeout_s / 4)
        self._slow_client_timeout_s = slow_client_timeout_s
        self._find_streams = find_streams
        self._unread: dict[asyncio.Transport, _Unread] = {}

    def abort_stalled(self, connections: Iterable[tuple[HttpProtocol, asyncio.Transport]], now: float) -> None:
        """Check all connections once; abort those whose time is over. `now`: monotonic seconds."""
        unread: dict[asyncio.Transport, _Unread] = {}
        for connection, transport in connections:
            if not (size := transport.get_write_buffer_size()):
                continue
            known = self._unread.get(transport)
            # More in the buffer is no progress: a client may send requests without reading. A buffer that has drained is,
            # even where the server has filled it again since.
            since = now
            if known is not None and size >= known.size and connection.drains == known.drains:
                since = known.since
            unread[transport] = _Unread(size, connection.drains, since)
        self._unread = unread
        if late := [transport for transport, one in unread.items() if now - one.since >= self._slow_client_timeout_s]:
            self._abort(late)

    def _abort(self, late: list[asyncio.Transport]) -> None:
        streams = self._find_streams()
        late = [transport for transport in late if transport not in streams]
        buffered_bytes = sum(transport.get_write_buffer_size() for transport in late)
        for transport in late:
            peer = transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):  # gone already
                # Closed without this, the kernel keeps what it was given until its own timeout.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        if late:
            extra = {"connections": len(late), "buffered_bytes": buffered_bytes}
            log.warning("clients do not read their responses; their connections are closed", extra=extra)

    async def watch(self, find_connections: Callable[[], Iterable[tuple[HttpProtocol, asyncio.Transport]]]) -> None:
        """Check at least once a second, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.check_interval_s)
            try:
                self.abort_stalled(find_connections(), loop.time())
            except Exception:
                # The next check must come: nothing else closes these connections.
                log.exception("cannot check for unread responses; will retry")
