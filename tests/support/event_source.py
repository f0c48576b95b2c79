"""A reader that follows the rules of EventSource (WHATWG HTML, 9.2.3), but waits less before it reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp

from tests.support.sse import Frame, Stream

_RECONNECT_S: Final = 0.02


class EventSource:
    """Reconnects after every answer 200 that ends and every broken connection; any other status ends it for ever.

    Attributes:
        frames: what was received, dispatched or not, of all connections together.
        connections: how many answers 200 there were.
    """

    def __init__(self, session: aiohttp.ClientSession, path: str, headers: Mapping[str, str]) -> None:
        self.frames: list[Frame] = []
        self.connections = 0
        self._session = session
        self._path = path
        self._headers = {"Accept": "text/event-stream", **headers}
        self._last_id: str | None = None

    def ids(self, event: str) -> list[str | None]:
        """The ids of the events of this type, in order of arrival."""
        return [frame.id for frame in self.frames if frame.event == event and frame.data is not None]

    def retries(self) -> list[int]:
        """Every `retry` that was received."""
        return [frame.retry for frame in self.frames if frame.retry is not None]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[EventSource]:
        """Read until the end of the block; fails with it when a status other than 200 has ended the reader."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._run(), name="event source")
            yield self
            task.cancel()

    async def _run(self) -> None:
        while True:
            with suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                await self._connect()
            await asyncio.sleep(_RECONNECT_S)

    async def _connect(self) -> None:
        headers = dict(self._headers)
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        async with self._session.get(self._path, headers=headers, timeout=aiohttp.ClientTimeout(None)) as answer:
            content = f"{answer.status} {answer.content_type}"
            assert content == "200 text/event-stream", f"{content}: an EventSource gives up"
            self.connections += 1
            stream = Stream(answer)
            while (frame := await stream.frame(timeout_s=30)) is not None:
                self.frames.append(frame)
                self._last_id = frame.id or self._last_id
