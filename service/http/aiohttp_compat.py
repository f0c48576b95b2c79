"""Every access to private names of aiohttp. A test fails when aiohttp renames one, or when another module uses one.

The rest of Roster uses the public names below. Each one was checked against aiohttp 3.14.5.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import ItemsView
from http import HTTPStatus
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import WSMessage, WSMsgType, hdrs, web, web_protocol, web_response
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_websocket import WebSocketWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from multidict import CIMultiDict

if TYPE_CHECKING:
    from aiohttp.worker import GunicornWebWorker


def set_server_name(name: str) -> None:
    """Set the `Server` header of every response of this process, aiohttp's own error responses included."""
    web_response.SERVER_SOFTWARE = name  # type: ignore[attr-defined]  # it is not meant to be changed


def set_queue_limit(requests: int) -> None:
    """Set how many pipelined requests a new connection may queue. aiohttp's 32 have no argument."""
    web_protocol.MAX_MSG_QUEUE_SIZE = requests


def set_body_limit(request: web.Request, most_bytes: int) -> None:
    """Bound the body of one request; `Request.read` then raises `HTTPRequestEntityTooLarge`.

    aiohttp has one public limit for a whole application, in the constructor of `Application`.
    """
    request._client_max_size = most_bytes


def current_request(connection: RequestHandler) -> web.BaseRequest | None:
    """The request that a connection is serving; None between requests."""
    return connection._current_request


def is_idle(connection: RequestHandler) -> bool:
    """Whether a connection neither serves a request nor has one queued."""
    return connection._current_request is None and not connection._messages


def create_ssl_context(worker: GunicornWebWorker) -> SSLContext | None:
    """The TLS settings of gunicorn as a context; None without TLS."""
    return worker._create_ssl_context(worker.cfg) if worker.cfg.is_ssl else None


class InspectableHandler(RequestHandler):
    """A connection whose parser and queue a subclass can read."""

    __slots__ = ()

    @property
    def is_upgraded(self) -> bool:
        """Whether bytes are no longer parsed as HTTP, or will not be after this request."""
        return self._upgraded or self._payload_parser is not None

    @property
    def is_upgrade_pending(self) -> bool:
        """Whether a request asked for an upgrade that no handler has accepted, and no other request is queued."""
        return self._upgraded and self._payload_parser is None and not self._messages

    @property
    def parsed_requests(self) -> int:
        """How many requests, errors included, the parser has found."""
        return self._request_count

    @property
    def is_reading_paused(self) -> bool:
        """Whether a handler has to take bytes of a body before more are read."""
        return self._reading_paused

    @property
    def is_queue_full(self) -> bool:
        """Whether the parser stops until a queued request is taken."""
        return len(self._messages) >= self._max_msg_queue_size

    @property
    def is_ending(self) -> bool:
        """Whether no request will be taken from this connection any more."""
        return self._force_close or self._close

    def last_parsed(self) -> tuple[bool, StreamReader | None]:
        """Whether the request that was parsed last is an error, and its body; None without a body."""
        message, body = self._messages[-1]
        return isinstance(message, _ErrInfo), None if body is EMPTY_PAYLOAD else body

    def reserve_queue_place(self) -> None:
        """Let the queue hold one request less than the parser.

        The parser counts a request that is taken before its body is complete as queued for ever. It then stops one request
        early, and with aiohttp's own number nothing would start it again.
        """
        self._max_msg_queue_size -= 1

    def drop_unparsed_bytes(self) -> None:
        """Drop the bytes that arrived after an upgrade request."""
        self._message_tail = b""

    def queue_error(self, status: HTTPStatus) -> bool:
        """Answer with the status after earlier requests, and close; False for a connection that is closed or closing."""
        if self._request_handler is None or self._force_close:
            return False
        error = HttpProcessingError(code=status, message=status.phrase)
        self._messages.append((_ErrInfo(status, error, status.phrase), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True


class ReplacementServer(web.Server):
    """A server with the handler and the options of another one, for a subclass that creates other connections."""

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=server._loop,
            **server._kwargs,
        )

    @property
    def handler_options(self) -> dict[str, Any]:
        """The keyword arguments of each connection."""
        return {"loop": self._loop, **self._kwargs}

    @property
    def transports(self) -> ItemsView[RequestHandler, asyncio.Transport]:
        """Every connection with its transport, which the connection itself forgets when it is closed by force."""
        return self._connections.items()


class ReplacingRunner(web.AppRunner):
    """aiohttp's runner, with a server of the subclass."""

    @abstractmethod
    def replace_server(self, server: web.Server) -> web.Server:
        """Return the server to use instead. Called once, when the application has started."""

    async def _make_server(self) -> web.Server:
        return self.replace_server(await super()._make_server())


class AcceptorSite(web.BaseSite):
    """A site of a runner whose listener a subclass serves."""

    @abstractmethod
    def accept(self, server: web.Server) -> asyncio.AbstractServer:
        """Accept connections for the server of the runner, until the result is closed."""

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        self._server = self.accept(server)


class CompressionAgreement(Protocol):
    """An accepted offer of permessage-deflate: see `service.realtime.deflate`."""

    @property
    def window(self) -> int: ...
    @property
    def no_takeover(self) -> bool: ...
    @property
    def header(self) -> str: ...


class HookedWebSocketResponse(web.WebSocketResponse):
    """aiohttp's WebSocket, whose compression and frame parser a subclass chooses."""

    @abstractmethod
    def negotiate_compression(self, offers: str) -> CompressionAgreement | None:
        """Accept one of the client's offers, which are the text of `Sec-WebSocket-Extensions`; None to decline all."""

    @abstractmethod
    def wrap_frame_parser(self, parser: Any) -> Any:
        """Return the parser for the bytes after the handshake.

        aiohttp handles control frames and fragments inside its parser and shows them to no handler.
        """

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport of the connection; None before the handshake and after the end."""
        return None if self._req is None else self._req.transport

    def feed_error(self) -> None:
        """Make the pending or next `receive` return an error."""
        if self._reader is not None:
            self._reader.feed_data(WSMessage(WSMsgType.ERROR, None, None), 0)

    def _handshake(self, request: web.BaseRequest) -> tuple[CIMultiDict[str], str | None, int, bool]:
        offers = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, ())) if self._compress else ""
        headers, protocol, _, _ = super()._handshake(request)
        agreement = self.negotiate_compression(offers)
        if agreement is None:
            headers.popall(hdrs.SEC_WEBSOCKET_EXTENSIONS, None)
            return headers, protocol, 0, False
        headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = agreement.header
        return headers, protocol, agreement.window, agreement.no_takeover

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        connection = request.protocol
        # aiohttp would feed the bytes that came with the handshake to its own parser, before that can be wrapped.
        early, connection._message_tail = connection._message_tail, b""
        super()._post_start(request, protocol, writer)
        parser = connection._payload_parser = self.wrap_frame_parser(connection._payload_parser)
        if early:
            parser.feed_data(early)
