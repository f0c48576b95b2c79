"""One open stream: whose it is, what it reads, how it ends."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import Final, Literal

from aiohttp import web

from service.realtime.closing import Ending
from service.realtime.frames import Form
from service.realtime.reader import Reader
from service.security.authenticator import Principal

FULL_BYTES: Final = 65_536  # asyncio's and uvloop's own high-water mark

_numbers = itertools.count(1)


class Connection:
    """What the feed over SSE and the WebSocket have in common.

    All writing is synchronous: bytes go to the transport, which keeps what the socket does not take. Only the
    connection's own task waits for that, in `drained`.
    """

    kind: Literal["feed", "websocket"]

    def __init__(self, request: web.Request, form: Form, principal: Principal, client: str) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        self.id = f"{next(_numbers):x}"
        self.form = form
        self.principal = principal
        self.client = client
        self.readers: set[Reader] = set()
        self.opened_at = time.monotonic()
        self.sent_bytes = 0
        self.ending: Ending | None = None
        self.reconnect_after_ms = 0
        self._transport = transport
        self._writer = request.writer

    def write(self, data: bytes) -> bool:
        """Send, without waiting; False when the socket is full now."""
        self.sent_bytes += len(data)
        self._transport.write(data)
        return self._transport.get_write_buffer_size() < FULL_BYTES

    @property
    def buffered_bytes(self) -> int:
        """What was written and the socket has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def is_full(self) -> bool:
        return self._transport.get_write_buffer_size() >= FULL_BYTES

    @property
    def is_gone(self) -> bool:
        return self._transport.is_closing()

    def ping(self) -> None:
        """Show that the connection lives, and up to where it was served."""

    def tell_closing(self) -> None:
        """Announce the ending, where the form of the stream has words for it."""

    def wake(self) -> None:
        """Have the connection's own task look at its readers and at its ending."""
        raise NotImplementedError

    def end(self, ending: Ending) -> None:
        """Bring the stream to an end; the first reason stands. Its own task does it, so nobody waits here."""
        if self.ending is None:
            self.ending = ending
            # Spread out, so that those who leave together do not come back together.
            self.reconnect_after_ms = random.randint(250, 2_000) if ending.reconnect else 0
            self.wake()

    def abort(self) -> None:
        """Free the socket and all that is buffered for it, whether the peer reads or not."""
        self._transport.abort()

    async def catch_up(self) -> None:
        """Have every reader that is behind read on, in turn, until all are live or the stream ends.

        Raises ConnectionError when the peer goes away.
        """
        while self._is_open() and (behind := [reader for reader in self.readers if not reader.live]):
            for reader in behind:
                # One may have been closed while another waited for the socket.
                if reader in self.readers and self._is_open():
                    await reader.step()
                    await self.drained()

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
