"""aiohttp's connection, with bounds on a request head while it arrives."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from service.peers import Peers

MAX_HEAD_BYTES: Final = 32_768
MAX_FIELD_BYTES: Final = 8_190
MAX_FIELDS: Final = 64
# The parser does not report where a head ends inside a piece, so a head that follows another message is counted from the
# next piece on.
_PIECE_BYTES: Final = 4_096


class HttpProtocol(RequestHandler):
    """Counts the bytes of a head that arrives in pieces, and closes the connection at the bounds.

    aiohttp bounds each field and their number, but neither their sum nor the time: 800 connections with half-sent heads held
    1.5 GB for 65 seconds. A head that arrives in one piece costs two comparisons here.

    Args:
        peers: counts connections and half-sent heads.
        head_timeout_s: time from the first piece of a head to its end, in seconds.
    """

    __slots__ = ("_body", "_head_bytes", "_head_timeout_s", "_head_timer", "_held", "_network", "_peers", "_refused")

    def __init__(self, server: web.Server, *, peers: Peers, head_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(server, max_field_size=MAX_FIELD_BYTES, max_headers=MAX_FIELDS, **kwargs)
        self._peers = peers
        self._head_timeout_s = head_timeout_s
        self._network: str | None = None
        self._body: StreamReader | None = None
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._held = b""
        self._refused = False

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
        if self._upgraded or self._payload_parser is not None:
            super().data_received(data)
            return
        if self._held:
            data, self._held = self._held + data, b""
        if len(data) <= _PIECE_BYTES:
            self._feed(data)
            return
        for start in range(0, len(data), _PIECE_BYTES):
            self._feed(data[start : start + _PIECE_BYTES])
            rest = start + _PIECE_BYTES
            if self._is_deaf() or rest >= len(data):
                return
            if self._upgraded:
                super().data_received(data[rest:])
                return
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                # aiohttp calls again, with nothing, when there is room. The parser would copy the rest at every call.
                self._held = data[rest:]
                return

    def _is_deaf(self) -> bool:
        return self._refused or self._force_close or self._close

    def _feed(self, data: bytes) -> None:
        count = self._request_count
        in_body = self._body is not None and not self._body.is_eof()
        if not in_body and self._head_bytes >= MAX_HEAD_BYTES and data:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        super().data_received(data)
        if self._request_count != count:
            body = self._messages[-1][1]
            self._body = None if body is EMPTY_PAYLOAD else body
            if self._head_bytes:
                self._end_head()
        elif data and not in_body and not self._upgraded:
            self._body = None
            self._continue_head(len(data))

    def _continue_head(self, size: int) -> None:
        if not self._head_bytes:
            if not self._peers.add_head(self._network):
                self._refused = True
                self.force_close()
                return
            self._head_timer = self._loop.call_later(self._head_timeout_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)
        self._head_bytes += size

    def _end_head(self) -> None:
        if self._head_bytes:
            self._head_bytes = 0
            self._peers.remove_head(self._network)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with the status after the requests that came before, and close. What the parser holds is dropped."""
        self._end_head()
        self._refused = True
        if self._request_handler is None or self._force_close:
            return
        self._peers.count_refused_head(status)
        error = HttpProcessingError(code=status, message=status.phrase)
        self._messages.append((_ErrInfo(status, error, status.phrase), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class HttpServer(web.Server):
    """Creates an `HttpProtocol` for each connection."""

    def __init__(self, server: web.Server, peers: Peers, head_timeout_s: float) -> None:
        super().__init__(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=server._loop,
            **server._kwargs,
        )
        self._peers = peers
        self._head_timeout_s = head_timeout_s

    def __call__(self) -> HttpProtocol:
        return HttpProtocol(
            self, loop=self._loop, peers=self._peers, head_timeout_s=self._head_timeout_s, **self._kwargs
        )
