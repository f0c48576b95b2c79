"""A way to a server that can be cut, or swallow what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

_PIECE_BYTES: Final = 65_536


class Proxy:
    """Listens on `port` and hands on what comes, both ways.

    Attributes:
        mode: `pass` hands on; `swallow` takes connections and all that is sent, and says nothing; `refuse` hangs up.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.mode: Literal["pass", "swallow", "refuse"] = "pass"
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def refuse(self) -> None:
        """Close every connection, and refuse new ones."""
        self.mode = "refuse"
        for writer in self._writers:
            writer.transport.abort()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.refuse()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self.mode == "refuse":
                return
            with suppress(OSError):
                onward = await asyncio.open_connection(*self._target)
                self._writers.add(onward[1])
                try:
                    await asyncio.gather(self._hand_on(reader, onward[1]), self._hand_on(onward[0], writer))
                finally:
                    self._writers.discard(onward[1])
                    onward[1].transport.abort()
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if self.mode == "pass":
                    writer.write(piece)
                    await writer.drain()
        writer.transport.abort()
