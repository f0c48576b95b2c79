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

from aiohttp.web_protocol import RequestHandler

log = logging.getLogger("roster")

_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Unread:
    """What a connection has buffered. `since`: from when on the client has taken nothing of it, in seconds."""

    transport: asyncio.Transport
    size: int
    since: float


class UnreadResponses:
    """Aborts connections whose clients take nothing of a response for too long.

    aiohttp waits without a deadline for the client to take a response, and so does closing the connection: a client that
    does not read holds memory and a descriptor. Streams are exempt, because `Connections` ends them with a reason.

    Args:
        stall_s: seconds for which a client may take nothing.
        find_streams: the transports of open streams.
    """

    def __init__(self, stall_s: float, find_streams: Callable[[], Collection[asyncio.Transport]]) -> None:
        self.look_every_s = min(1.0, stall_s / 4)
        self._stall_s = stall_s
        self._find_streams = find_streams
        self._unread: dict[RequestHandler, _Unread] = {}

    def look(self, connections: Iterable[RequestHandler], now: float) -> None:
        """Look at all connections once; abort those whose time is over. `now`: seconds, monotonic."""
        unread: dict[RequestHandler, _Unread] = {}
        for connection in connections:
            known = self._unread.get(connection)
            # aiohttp forgets the transport that it closes, although that waits for the client.
            transport = known.transport if known is not None else connection.transport
            if transport is None or not (size := transport.get_write_buffer_size()):
                continue
            # More in the buffer is no progress: a client may go on asking without reading.
            stuck_since = now if known is None or size < known.size else known.since
            unread[connection] = _Unread(transport, size, stuck_since)
        self._unread = unread
        if late := [one for one in unread.values() if now - one.since >= self._stall_s]:
            self._abort(late)

    def _abort(self, late: list[_Unread]) -> None:
        streams = self._find_streams()
        late = [one for one in late if one.transport not in streams]
        for one in late:
            peer = one.transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):  # gone already
                # Closed without this, the kernel keeps what it was given until its own patience ends.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.transport.abort()
        if late:
            extra = {"connections": len(late), "buffered_bytes": sum(one.size for one in late)}
            log.warning("clients do not read their responses; their connections are closed", extra=extra)

    async def watch(self, find_connections: Callable[[], Iterable[RequestHandler]]) -> None:
        """Look every second or oftener, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.look_every_s)
            try:
                self.look(find_connections(), loop.time())
            except Exception:
                # The next look must come: nothing else closes these connections.
                log.exception("cannot check for unread responses")
