"""aiohttp's connection, with bounds on a request head while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.streams import StreamReader

from service.http.aiohttp_compat import InspectableHandler, ReplacementServer, set_queue_limit
from service.server.peers import Peers

MAX_HEAD_BYTES: Final = 32_768
MAX_FIELD_BYTES: Final = 8_190
MAX_FIELDS: Final = 64
MAX_QUEUED_REQUESTS: Final = 4  # of one connection; each may be a head of 32 KiB
# The parser does not report where a head ends inside a piece, so a head that follows another message is counted from the
# next piece on.
_PIECE_BYTES: Final = 4_096


class HttpProtocol(InspectableHandler):
    """Counts the bytes of a head that arrives in pieces, and closes the connection at the bounds.

    aiohttp bounds each field and their number, but neither their sum nor the time: 800 connections with half-sent heads held
    1.5 GB for 65 seconds. A head that arrives in one piece costs two comparisons here.

    Args:
        peers: counts connections and half-sent heads.
        head_timeout_s: time from the first piece of a head to its end, in seconds.

    Attributes:
        drains: how often the client has emptied a full send buffer.
    """

    __slots__ = (
        "_body",
        "_framing_bytes",
        "_head_bytes",
        "_head_timeout_s",
        "_head_timer",
        "_held",
        "_network",
        "_peers",
        "_refused",
        "drains",
    )

    def __init__(self, server: web.Server, *, peers: Peers, head_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(server, max_field_size=MAX_FIELD_BYTES, max_headers=MAX_FIELDS, **kwargs)
        self.reserve_queue_place()
        self._peers = peers
        self._head_timeout_s = head_timeout_s
        self._network: str | None = None
        self._body: StreamReader | None = None
        self._framing_bytes = 0
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._held = b""
        self._refused = False
        self.drains = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._network = self._peers.network_of(transport)
        if not self._peers.add_connection(self._network, transport):
            self._network = None
            self._refused = True
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_head()
        self._peers.remove_connection(self._network)
        self._network = None
        self._body = None
        self._held = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self.is_upgraded:
            super().data_received(data)
            return
        if not self._held and len(data) <= _PIECE_BYTES:
            self._feed(data)
            return
        data, self._held = self._held + data, b""
        self._feed(b"")  # what the parser holds comes first
        for start in range(0, len(data), _PIECE_BYTES):
            if self._is_deaf():
                return
            if self.is_upgraded:
                super().data_received(data[start:])
                return
            if self.is_reading_paused or self.is_queue_full:
                # aiohttp calls again, with nothing, when there is room. The parser would copy the rest at every call.
                self._held = data[start:]
                return
            self._feed(data[start : start + _PIECE_BYTES])

    def resume_writing(self) -> None:
        self.drains += 1
        super().resume_writing()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self.is_upgrade_pending:
            # The upgrade was declined. aiohttp would parse what has arrived since without a bound on heads.
            self.drop_unparsed_bytes()
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _is_deaf(self) -> bool:
        return self._refused or self.is_ending

    def _feed(self, data: bytes) -> None:
        count, body = self.parsed_requests, self._body
        in_body = body is not None and not body.is_eof()
        body_bytes = body.total_bytes if body is not None else 0
        if not in_body and self._head_bytes >= MAX_HEAD_BYTES and data:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        super().data_received(data)
        if self.parsed_requests != count:
            # What follows an error cannot be parsed either: each piece would be another error.
            self._refused, self._body = self.last_parsed()
            self._framing_bytes = 0
            if self._head_bytes:
                self._end_head()
        elif body is not None and in_body:
            self._count_framing(len(data), body.total_bytes - body_bytes)
        elif data and not self.is_upgraded:
            self._body = None
            self._continue_head(len(data))

    def _count_framing(self, size: int, body_bytes: int) -> None:
        """Bound trailers, which the parser keeps like a head (RFC 9112, 7.1.2), and of which no byte belongs to the body."""
        if body_bytes or self.is_reading_paused:
            self._framing_bytes = 0
            return
        self._framing_bytes += size
        if self._framing_bytes > MAX_HEAD_BYTES:
            self._peers.count_refused_head(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            self._refused = True
            # The request is not answered: its body does not end.
            self.force_close()

    def _continue_head(self, size: int) -> None:
        if not self._head_bytes:
            if not self._peers.add_head(self._network):
                self._refused = True
                self.force_close()
                return
            self._head_timer = asyncio.get_running_loop().call_later(
                self._head_timeout_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT
            )
        self._head_bytes += size

    def _end_head(self) -> None:
        if self._head_bytes:
            self._head_bytes = 0
            self._peers.remove_head(self._network)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with the status after earlier requests, and close. Unparsed bytes are dropped."""
        self._end_head()
        self._refused = True
        if self.queue_error(status):
            self._peers.count_refused_head(status)


class HttpServer(ReplacementServer):
    """Creates an `HttpProtocol` for each connection."""

    def __init__(self, server: web.Server, peers: Peers, head_timeout_s: float) -> None:
        super().__init__(server)
        self._peers = peers
        self._head_timeout_s = head_timeout_s
        set_queue_limit(MAX_QUEUED_REQUESTS)

    def find_transports(self) -> Iterable[tuple[HttpProtocol, asyncio.Transport]]:
        """Every connection with its transport, which the connection itself forgets when it is closed by force."""
        return cast(Iterable[tuple[HttpProtocol, asyncio.Transport]], self.transports)

    def count_connections(self) -> int:
        return len(self.transports)

    def __call__(self) -> HttpProtocol:
        return HttpProtocol(self, peers=self._peers, head_timeout_s=self._head_timeout_s, **self.handler_options)
