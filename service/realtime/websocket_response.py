"""aiohttp's WebSocket, with bounds on frames and the closing handshake of RFC 6455."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from service.http.aiohttp_compat import CompressionAgreement, HookedWebSocketResponse
from service.realtime.deflate import accept_offer
from service.realtime.frame_limit import FrameCounter, FrameLimit

_FRAMES_A_TURN: Final = 32
# aiohttp parses all bytes that were read at once, and endless fragments never yield to other connections: with the kernel's
# default buffer 256 KB arrive together, and 43,000 empty fragments took 0.17 s.
_RECEIVE_BUFFER: Final = 65_536
_FLOOD_LINGER_S: Final = 1.0
_RESERVED_CODES: Final = (1004, 1005, 1006, 1015)
_HIGHEST_CODE: Final = 4999


class WebSocketResponse(HookedWebSocketResponse):
    """Says when a close frame goes out, and counts frames.

    aiohttp closes by itself after a breach of the protocol, and handles control frames and fragments without showing them.

    Args:
        messages_per_s: frames that the client may send; 0 for no bound.

    Attributes:
        limit: counts what the handler does not see. The handler counts messages.
        on_flood: called when that exceeds the limit; None: `receive` returns an error then.
    """

    def __init__(self, *, messages_per_s: int = 0, **options: Any) -> None:
        super().__init__(autoping=False, **options)
        self._received = 0
        self.limit = FrameLimit(messages_per_s)
        self.on_close: Callable[[], None] | None = None
        self.on_flood: Callable[[], None] | None = None
        self._is_stopped = False

    def negotiate_compression(self, offers: str) -> CompressionAgreement | None:
        # aiohttp's own answer leaves out `server_max_window_bits=15`, after which the client has to fail.
        return accept_offer(offers)

    def wrap_frame_parser(self, parser: Any) -> Any:
        if not self.limit.per_s:
            return parser
        return FrameCounter(parser, self.limit, self._end_flood, self._stop_reading)

    def _end_flood(self) -> None:
        if self.on_flood is not None:
            self.on_flood()
        else:
            self.feed_error()

    def _stop_reading(self) -> None:
        transport = self.transport
        if transport is None:
            return
        transport.pause_reading()
        if not self._is_stopped:
            self._is_stopped = True
            # Not at once: the reset would take the close frame with it.
            asyncio.get_running_loop().call_later(_FLOOD_LINGER_S, transport.abort)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        writer = await super().prepare(request)
        peer = None if request.transport is None else request.transport.get_extra_info("socket")
        if peer is not None:
            with contextlib.suppress(OSError):  # gone already
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        return writer

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message, or that there will be none. Pings are answered.

        Receiving what is there already never waits: the 40,000 frames of one read, pings or a letter each, kept everybody
        else waiting for half a second and more.
        """
        while True:
            self._received += 1
            if self._received % _FRAMES_A_TURN == 0:
                await asyncio.sleep(0)
            message = await super().receive(timeout)
            if message.type is WSMsgType.PING:
                await self.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return message

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        if self.on_close is not None:
            self.on_close()
        if code == WSCloseCode.OK and self.exception() is not None:
            code = WSCloseCode.PROTOCOL_ERROR  # what does not inflate is no normal end, which aiohttp would call it
        closed = await super().close(code=code, message=message, drain=drain)
        if (failure := self.exception()) is not None:
            # It is kept, and with it by its frames everything that this connection had, until the collector comes.
            failure.with_traceback(None).__context__ = None
        return closed


def close_code(received: int) -> int:
    """The code of the answer to a close frame with that code (RFC 6455, 7.4): reserved and undefined codes
    are a protocol error."""
    if received in _RESERVED_CODES or received > _HIGHEST_CODE:
        return WSCloseCode.PROTOCOL_ERROR
    return received or WSCloseCode.OK
