"""The feed, and each room, over server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from service.domain.errors import InvalidPosition
from service.domain.events.position import Position
from service.realtime import close_reasons
from service.realtime.broadcast_log import BroadcastLog
from service.realtime.close_reasons import CloseReason
from service.realtime.connection import Confirm, Connection
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.encoding import (
    WireEncoding,
    chunk,
    compact,
    sse,
    sse_ping,
)
from service.realtime.reader import LimitedReader, Reader
from service.realtime.subscribers import EventFilter
from service.security.authenticator import Principal

_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold events back until its buffer is full
}
_RETRY_MS: Final = (1_000, 4_000)
_DEAD_AFTER_S: Final = 90.0  # or three times what a peer that lives may take to read

_logger = logging.getLogger("roster.streams")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader asks to begin.

    Attributes:
        position: after this one; None with neither flag: at the head.
        oldest: at the oldest entry that is kept.
        invalid: what it sent cannot be read; it cannot know what it missed.
    """

    position: Position | None = None
    oldest: bool = False
    invalid: bool = False

    @classmethod
    def of(cls, last_event_id: str | None, after: str | None) -> Start:
        """Read both ways of asking; the header, which comes from a reader that was here before, wins."""
        if last_event_id:
            try:
                return cls(Position.parse(last_event_id))
            except InvalidPosition:
                return cls(invalid=True)
        if after == "0":
            return cls(oldest=True)
        return cls(None if after is None else Position.parse(after))


@dataclass(frozen=True, slots=True)
class Reading:
    """The log that a stream reads, and how.

    Attributes:
        limit: the stream ends after so many entries; None for no end.
        resync: path of what a reader has to read again after a `reset`.
        ends_behind: whether a reader whose next entry was trimmed is closed instead of reset; in a room it was too slow.
    """

    log: BroadcastLog
    event_filter: EventFilter
    resync: str
    limit: int | None = None
    ends_behind: bool = False


class EventStream(Connection):
    """One reader of a log over SSE."""

    kind = "feed"

    def __init__(self, request: web.Request, principal: Principal, client: str) -> None:
        # Chunks on HTTP/1.1, none on 1.0, which many proxies speak to their upstreams.
        encoding = WireEncoding.CHUNKED if request.version >= HttpVersion11 else WireEncoding.PLAIN
        super().__init__(request, encoding, principal, client)
        self.response = web.StreamResponse(headers=_HEADERS)
        self._request = request
        self._woken = asyncio.Event()
        self._patience: asyncio.Timeout | None = None

    def wake(self) -> None:
        self._woken.set()

    def send_close_notice(self) -> None:
        self._woken.set()
        # A store that does not answer must not keep its task from saying goodbye.
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(0)

    async def run(self, reading: Reading, start: Start, connections: ConnectionRegistry, confirm: Confirm) -> None:
        """Serve the stream until it ends or the client leaves. Cancelling is safe: it is how a client leaves."""
        await self.response.prepare(self._request)
        connections.add(self)
        _give_up_on_the_dead(self._request, max(_DEAD_AFTER_S, 3 * connections.slow_client_timeout_s))
        try:
            await self._say_goodbye(await self._serve(reading, start, confirm))
        except ConnectionError:
            pass  # the client left in the middle of a write
        finally:
            self.close()
            connections.remove(self)

    async def _serve(self, reading: Reading, start: Start, confirm: Confirm) -> CloseReason:
        """Read until there is a reason to end."""
        try:
            async with self._interruptible():
                await self._open(reading, start, confirm)
            while self.ending is None:
                await self.catch_up()
                await self._woken.wait()
                self._woken.clear()
        except ConnectionError:
            raise
        except TimeoutError:
            if self.ending is None:
                raise
        except Exception:
            # A response that has begun cannot become a 500, and EventSource never comes back from one.
            _logger.exception("reading for a stream failed; closing the stream", extra={"connection": self.id})
            self.end(close_reasons.FEED_FAILED)
        return self.ending or close_reasons.FAULT

    async def _step(self, reader: Reader) -> None:
        async with self._interruptible():
            await super()._step(reader)

    @contextlib.asynccontextmanager
    async def _interruptible(self) -> AsyncIterator[None]:
        """A wait for the store, which ends in TimeoutError when the stream ends.

        Not so the wait for the socket: aiohttp has one for all senders, and the goodbye has to wait there as well.
        """
        try:
            async with asyncio.timeout(None) as self._patience:
                yield
        finally:
            self._patience = None

    def ping(self) -> None:
        for reader in self.readers:
            self._send(sse_ping(str(reader.position)))

    async def _open(self, reading: Reading, start: Start, confirm: Confirm) -> None:
        log, resync = reading.log, reading.resync
        lost: str | None = None
        position = start.position or log.head
        if self.ending is None:
            await self.confirm(confirm)
        if self.ending is not None:
            # The stream is refused, so its position is not checked. The reader reconnects with it, or with the head.
            knows_no_place = start.invalid or start.oldest
            hello = compact({"position": str(position)})
            await self._begin(sse("hello", hello, None if knows_no_place else str(position)))
            return
        if start.invalid:
            lost = "invalid"
        elif start.position is not None:
            lost = await log.lost(start.position, self.principal.caller.id)
        if lost:
            position = log.head
        elif start.oldest:
            position = Position(log.epoch, await log.first() - 1)
        hello = compact({"position": str(position)})
        if lost:
            # The id stands at the reset alone: a reader cut off between the two must not come back as if it had it.
            await self._begin(sse("hello", hello) + _reset(lost, position, resync))
        else:
            await self._begin(sse("hello", hello, str(position)))

        def trimmed() -> None:
            if reading.ends_behind:
                self.end(close_reasons.TOO_SLOW)
            else:
                self._send(_reset("trimmed", log.head, resync))

        def reset(reason: str) -> None:
            self._send(_reset(reason, log.head, resync))

        if self.ending is None:
            on_reset = reset if reading.ends_behind else None
            if reading.limit is None:
                reader = Reader(log, self, reading.event_filter, position.seq, trimmed, on_reset)
            else:
                reader = LimitedReader(log, self, reading.event_filter, position.seq, trimmed, reading.limit, on_reset)
            self.readers.append(reader)

    async def _begin(self, opening: bytes) -> None:
        opening = f"retry: {random.randint(*_RETRY_MS)}\n".encode() + opening  # nosec B311  # no secret
        # Through the response, because its headers wait for the first write.
        await self.response.write(opening)
        self.count_sent(len(opening))

    async def _say_goodbye(self, ending: CloseReason) -> None:
        if self._transport.is_closing():
            return  # torn down already; uvloop would keep what is written now
        goodbye = _goodbye(ending, self.reconnect_after_ms)
        self.count_sent(len(goodbye))
        if ending is close_reasons.RESTART:
            # Who came back over the same connection would find the process that is stopping.
            self.response.force_close()
        # Through the response: where opening failed, not even the headers went out.
        await self.response.write(goodbye)
        await self.response.write_eof()

    def _send(self, data: bytes) -> None:
        self.write(chunk(data) if self.encoding is WireEncoding.CHUNKED else data)


def unavailable_stream(retry_ms: tuple[int, int] = _RETRY_MS) -> web.Response:
    """The whole stream of a reader that cannot be served now. EventSource would never come back from another status than 200.

    Args:
        retry_ms: the shortest and the longest time after which the client is to come back.
    """
    after_ms = random.randint(*retry_ms)  # nosec B311  # no secret
    return web.Response(headers=_HEADERS, body=_goodbye(close_reasons.FEED_FAILED, after_ms))


def _goodbye(ending: CloseReason, reconnect_after_ms: int) -> bytes:
    data = {"reason": ending.reason, "reconnect_after_ms": reconnect_after_ms if ending.reconnect else None}
    retry = f"retry: {reconnect_after_ms}\n".encode() if ending.reconnect else b""
    return retry + sse("closing", compact(data))


def _give_up_on_the_dead(request: web.Request, after_s: float) -> None:
    """Have the kernel end the connection to a peer that is gone without a word.

    A WebSocket has heartbeats. An SSE client answers nothing, only its kernel does; without this, pings to a dead peer would
    continue until TCP itself gives up, after a quarter of an hour.
    """
    transport_socket = None if request.transport is None else request.transport.get_extra_info("socket")
    if transport_socket is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):  # a UNIX socket has no such thing
            transport_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(after_s * 1000))


def _reset(reason: str, position: Position, resync: str) -> bytes:
    return sse("reset", compact({"reason": reason, "position": str(position), "resync": resync}), str(position))
