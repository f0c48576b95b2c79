"""A client of `roster.v1` that knows JSON and nothing of the service."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import ClientWebSocketResponse, WSMsgType

if TYPE_CHECKING:
    from tests.support.server import Login, Server

Json = dict[str, Any]

_refs = itertools.count(1)


class Client:
    """An open WebSocket. `hello`: the frame that came first."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.hello: Json = {}
        self._aside: deque[Json] = deque()

    async def send(self, type_: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"type": type_, **fields}))

    async def next(self, timeout_s: float = 5.0) -> Json | None:
        """The next frame; None when the socket was closed."""
        return self._aside.popleft() if self._aside else await self._receive(timeout_s)

    async def expect(self, type_: str, timeout_s: float = 5.0) -> Json:
        """The next frame, which must be of this type."""
        frame = await self.next(timeout_s)
        assert frame is not None, f"closed with {self.socket.close_code} where {type_} was expected"
        assert frame["type"] == type_, f"{frame} instead of {type_}"
        return frame

    async def until(self, type_: str, timeout_s: float = 5.0) -> Json:
        """The next frame of this type, whatever comes before it."""
        while (frame := await self.next(timeout_s)) is not None:
            if frame["type"] == type_:
                return frame
        raise AssertionError(f"closed with {self.socket.close_code} where {type_} was expected")

    async def ask(self, type_: str, **fields: Any) -> Json:
        """Send a frame and return its answer, without `ref`; what comes between is kept for `next`."""
        ref = f"r{next(_refs)}"
        await self.send(type_, ref=ref, **fields)
        while (frame := await self._receive(5.0)) is not None:
            if frame.get("ref") == ref:
                return {name: value for name, value in frame.items() if name != "ref"}
            self._aside.append(frame)
        raise AssertionError(f"closed with {self.socket.close_code} instead of an answer to {type_}")

    def forget(self) -> None:
        """Throw away what was kept."""
        self._aside.clear()

    async def closing(self, timeout_s: float = 5.0) -> tuple[Json, int | None]:
        """The `closing` frame, after whatever comes before it, and the close code; nothing may stand between."""
        frame = await self.until("closing", timeout_s)
        after = await self.next(timeout_s)
        assert after is None, f"{after} after closing"
        return frame, self.socket.close_code

    async def _receive(self, timeout_s: float) -> Json | None:
        async with asyncio.timeout(timeout_s):
            message = await self.socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
            return None
        assert message.type is WSMsgType.TEXT, message
        frame: Json = json.loads(message.data)
        return frame


@asynccontextmanager
async def connect(server: Server, by: Login | None = None, **kwargs: Any) -> AsyncIterator[Client]:
    """Open a WebSocket; with a login its `hello` has been read."""
    async with server.ws(by, **kwargs) as socket:
        client = Client(socket)
        if by is not None:
            client.hello = await client.expect("hello")
        yield client
