"""One open stream: whose it is, what it reads, how it ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from aiohttp import web

from service.domain.errors import InvalidToken
from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason
from service.realtime.encoding import WireEncoding
from service.realtime.reader import Reader
from service.realtime.subscribers import FULL_BYTES
from service.security.authenticator import Principal

_LINGER_S: Final = 1.0

_numbers = itertools.count(1)


Confirm = Callable[[Principal], Awaitable[bool]]
"""Looks once more whether the rights of a principal are still the same; raises `InvalidToken`."""

log = logging.getLogger("roster.streams")


class Connection:
    """The common part of the SSE feed and the WebSocket.

    All writing is synchronous: bytes go to the transport, which keeps what the socket does not take. Only the
    connection's own task waits for that, in `drained`.
    """

    kind: Literal["feed", "websocket"]

    def __init__(self, request: web.Request, encoding: WireEncoding, principal: Principal, client: str) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        self.id = f"{next(_numbers):x}"
        self.encoding = encoding
        self.principal = principal
        self.client = client
        self.readers: list[Reader] = []
        self.opened_at = time.monotonic()
        self.ending: CloseReason | None = None
        self.reconnect_after_ms = 0
        # Nothing more may be written: a close frame stands at the end of what was.
        self.silent = False
        self._transport = transport
        self._writer = request.writer
        self._sent_bytes = 0

    @property
    def transport(self) -> asyncio.Transport:
        return self._transport

    @property
    def put(self) -> Callable[[bytes], object]:
        """The bare way to the socket: counts nothing, and raises RuntimeError where the connection is gone."""
        return self._transport.write

    def write(self, data: bytes) -> bool:
        """Send, without waiting; False when the socket is full now."""
        if self.silent:
            return True
        # uvloop raises for a closed transport.
        if not self._transport.is_closing():
            self._transport.write(data)
            self._sent_bytes += len(data)
        return not self.is_full

    @property
    def sent_bytes(self) -> int:
        """The bytes written to the socket so far."""
        return self._sent_bytes + sum(reader.delivered_bytes for reader in self.readers)

    def count_sent(self, size: int) -> None:
        """Count what a reader was handed past `write`."""
        self._sent_bytes += size

    @property
    def buffered_bytes(self) -> int:
        """The bytes in the send buffer."""
        return self._transport.get_write_buffer_size()

    @property
    def is_full(self) -> bool:
        return self._transport.get_write_buffer_size() >= FULL_BYTES

    def ping(self) -> None:
        """Show that the connection lives, and up to where it was served."""

    def pause_readers(self) -> None:
        """Have no reader handed anything until the socket takes more.

        Each would find out by itself, after what it is handed next: in 64 rooms that was 4 MB for one full socket.
        """
        for reader in self.readers:
            reader.pause()

    def wake(self) -> None:
        """Have the connection's own task look at its readers."""
        raise NotImplementedError

    def send_close_notice(self) -> None:
        """Tell the peer of the ending, or have the connection's own task do so. Called once; waits for nothing."""
        raise NotImplementedError

    def end(self, ending: CloseReason, after_s: float = 0) -> None:
        """Bring the stream to an end; the first reason stands. Waits for nothing.

        Args:
            after_s: seconds before which a reconnect would fail.
        """
        if self.ending is not None:
            return
        self.ending = ending
        # Randomized, so that streams that end together do not reconnect together.
        self.reconnect_after_ms = int(after_s * 1000) + random.randint(250, 2_000) if ending.reconnect else 0  # nosec B311  # no secret
        # At once: the reader may not read events that were committed after the one that ends the stream.
        for reader in self.readers:
            reader.close()
        self.send_close_notice()

    async def confirm(self, look: Confirm) -> None:
        """Look once more whether this stream may be open, and end it where it may not."""
        try:
            same = await look(self.principal)
        except InvalidToken:
            self.end(close_reasons.SESSION_ENDED)
        except Exception:
            log.exception("cannot revalidate stream authorization; closing the stream", extra={"connection": self.id})
            self.end(close_reasons.FEED_FAILED)
        else:
            if not same:
                self.end(close_reasons.RIGHTS_CHANGED)

    def abort(self) -> None:
        """Free the socket and all that is buffered for it, whether the peer reads or not."""
        self._transport.abort()

    async def catch_up(self) -> None:
        """Let every detached reader read on, in turn, until all are live or the stream ends.

        Raises ConnectionError when the peer goes away.
        """
        while self._is_open() and (behind := [reader for reader in self.readers if not reader.live]):
            for reader in behind:
                await self.drained()
                # It may have been taken out, and the stream ended, while the socket was waited for.
                if reader in self.readers and self._is_open():
                    await self._step(reader)

    async def _step(self, reader: Reader) -> None:
        await reader.step()

    def _is_open(self) -> bool:
        return self.ending is None

    async def drained(self) -> None:
        """Wait until the socket takes more. Has no deadline: who makes no progress is aborted, which ends the wait."""
        # uvloop hands bytes to the kernel at the end of a turn: only then is it known whether the socket is full.
        await asyncio.sleep(0)
        await self._writer.drain()

    def close(self) -> None:
        """Leave the logs. Safe to call twice."""
        for reader in self.readers:
            reader.close()
        self.readers.clear()


def _tear_down(transport: asyncio.Transport) -> None:
    # asyncio's own cannot be aborted once all was taken and it has closed by itself.
    if transport.get_write_buffer_size():
        transport.abort()


async def close_socket(socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
    """Close a WebSocket whose handler is done. Waits for nothing.

    Closing alone waits for the peer to take what was written, for ever, and keeps memory and descriptor so long; tearing
    it down at once would cost a slow peer the close frame. So it gets a little time.
    """
    if transport is not None:
        transport.close()
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_LINGER_S, _tear_down, transport)
    # Where the connection was lost, aiohttp's timer for the next heartbeat would keep all of it until then.
    await socket.close(drain=False)
