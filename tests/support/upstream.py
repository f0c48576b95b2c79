"""A service of another party, on a real socket, that answers as configured: well, late, cut, endless or hostile."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """Its configured responses, and the requests it received.

    Attributes:
        received: every request, in order.
        active, peak: requests being answered now, and at most at one time.
        dropped: requests whose client went away before the answer was whole.
        reads_bodies: whether a body is read before the answer; else `received` has none.
    """

    def __init__(self, scheme: str) -> None:
        self.received: list[Received] = []
        self.active = 0
        self.peak = 0
        self.dropped = 0
        self.reads_bodies = True
        self.port = 0
        self._scheme = scheme
        self._replies: dict[str, list[Reply]] = defaultdict(list)
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)

    def on(self, path: str, *replies: Reply) -> str:
        """Answer `path` with these in turn, then with the last of them for ever; returns its URL."""
        self._replies[path] = list(replies)
        return self.url(path)

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    @property
    def connections(self) -> int:
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    def paths(self) -> list[str]:
        return [request.path for request in self.received]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            content = await request.read() if self.reads_bodies else b""
            self.received.append(Received(request.method, request.path, request.headers, content))
            replies = self._replies[request.path]
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            return await reply(request)
        except (asyncio.CancelledError, ConnectionError):
            self.dropped += 1
            raise
        finally:
            self.active -= 1


@contextlib.asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Run one on a free port of loopback."""
    upstream = Upstream("http" if tls is None else "https")
    await upstream.runner.setup()
    try:
        site = web.TCPSite(upstream.runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        upstream.port = upstream.runner.addresses[0][1]
        yield upstream
    finally:
        await upstream.runner.cleanup()


def body(content: bytes, *, status: int = 200, kind: str | None = "application/json", **headers: str) -> Reply:
    """Exactly these bytes; `Retry_After="1"` becomes a header. `kind` None leaves the content type out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        named["Content-Type"] = kind

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content or None, status=status, headers=named)

    return reply


def data(value: Any, *, status: int = 200, **headers: str) -> Reply:
    return body(json.dumps(value).encode(), status=status, **headers)


def zipped(content: bytes) -> Reply:
    return body(gzip.compress(content), Content_Encoding="gzip")


def when(gate: asyncio.Event, then: Reply) -> Reply:
    """Answer only once the gate is open."""

    async def reply(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await then(request)

    return reply


def raw(content: bytes) -> Reply:
    """These bytes on the wire, in place of an answer, and the end of the connection."""

    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(content)
        request.transport.close()
        return web.Response()  # goes nowhere

    return reply


def cut(content: bytes, *, length: int | None = None) -> Reply:
    """Headers, a part of the body, and a reset. `length`: the promised Content-Length; None for chunked."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = _json_stream(length)
        await response.prepare(request)
        await response.write(content)
        assert request.transport is not None
        request.transport.abort()
        return response

    return reply


def endless(chunk: bytes, *, pause_s: float = 0, status: int = 200) -> Reply:
    """A body without end: at once, or as a drip."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = _json_stream(None, status)
        await response.prepare(request)
        while True:
            await response.write(chunk)
            await asyncio.sleep(pause_s)

    return reply


def _json_stream(length: int | None, status: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    response.content_length = length
    return response
