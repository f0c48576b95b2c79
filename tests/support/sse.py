"""A reader of event streams that knows the format and nothing of the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from tests.support.server import Login, Server


@dataclass(frozen=True, slots=True)
class Frame:
    """The text between two blank lines. `data` is None if there was none."""

    event: str
    data: Any
    id: str | None
    retry: int | None
    comment: bool


class Stream:
    """An open event stream. `last_id`: what EventSource would send as `Last-Event-ID`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id: str | None = None
        self._buffer = b""

    async def frame(self, timeout_s: float = 5.0) -> Frame | None:
        """The next frame, pings included; None at the end of the stream."""
        async with asyncio.timeout(timeout_s):
            while b"\n\n" not in self._buffer:
                piece = await self.response.content.readany()
                if not piece:
                    return None
                self._buffer += piece
        text, self._buffer = self._buffer.split(b"\n\n", 1)
        frame = _parse(text.decode())
        if frame.id is not None:
            self.last_id = frame.id
        return frame

    async def next(self, timeout_s: float = 5.0) -> Frame | None:
        """The next event that is no ping; None at the end of the stream."""
        async with asyncio.timeout(timeout_s):
            while (frame := await self.frame(timeout_s)) is not None:
                if frame.data is not None and frame.event != "ping":
                    return frame
        return None

    async def expect(self, event: str, timeout_s: float = 5.0) -> Frame:
        """The next dispatched frame, which must be of this event."""
        frame = await self.next(timeout_s)
        assert frame is not None, f"the stream ended where {event} was expected"
        assert frame.event == event, f"{frame} instead of {event}"
        return frame


@asynccontextmanager
async def open_stream(server: Server, path: str, by: Login | None, **kwargs: Any) -> AsyncIterator[Stream]:
    headers = {"Accept": "text/event-stream", **kwargs.pop("headers", {})}
    async with server.request(
        "GET", path, by, headers=headers, timeout=aiohttp.ClientTimeout(None), **kwargs
    ) as answer:
        assert answer.status == 200, f"{answer.status} {await answer.text()}"
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)


def _parse(text: str) -> Frame:
    event, data, identifier, retry, comment = "message", None, None, None, False
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                comment = True
            case "event":
                event = value
            case "data":
                data = value if data is None else f"{data}\n{value}"
            case "id":
                identifier = value
            case "retry":
                retry = int(value)
            case _:
                raise AssertionError(f"no such field: {line!r}")
    return Frame(event, None if data is None else json.loads(data), identifier, retry, comment)
