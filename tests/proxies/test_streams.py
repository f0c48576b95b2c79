"""Feeds and WebSockets through a proxy."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp
import pytest

from service.app import now
from service.http.services import SERVICES
from service.store.memory.store import MemoryStore
from tests.support.event_source import EventSource
from tests.support.hosts import host
from tests.support.proxies import PROXIES, RunningProxy
from tests.support.server import Login, Server
from tests.support.wait import until


async def change(server: Server, user: Login, name: str) -> str:
    """Write one event; returns its position."""
    async with server.request("PATCH", f"/v1/users/{user.id}", user, json={"name": name}) as answer:
        assert answer.status == 200
        return answer.headers["ETag"].strip('"')


async def test_feed_is_not_buffered(behind: Server, outside: aiohttp.ClientSession) -> None:
    """`hello` and each event arrive while the stream stays open, one by one."""
    ada = await behind.member()
    async with EventSource(outside, "/v1/feed", ada.headers).reading() as feed:
        await until(lambda: feed.ids("hello"))
        for name in ("a", "b", "c"):
            position = await change(behind, ada, name)
            await until(lambda position=position: feed.ids("user.updated")[-1:] == [position])  # type: ignore[misc]  # mypy has no type for a lambda with a default
    assert feed.connections == 1


async def test_event_source_survives_a_restart(proxy: RunningProxy, outside: aiohttp.ClientSession) -> None:
    """While Roster is away the proxy answers 200 with `retry`; afterwards the reader resumes and has lost nothing."""
    store = MemoryStore(now)
    async with host(store) as elsewhere, AsyncExitStack() as life:
        await life.enter_async_context(proxy.host(store))
        ada = await elsewhere.member()
        async with EventSource(outside, "/v1/feed", ada.headers).reading() as feed:
            await until(lambda: len(feed.ids("hello")) == 1)
            written = [await change(elsewhere, ada, "before")]
            await life.aclose()
            await until(lambda: feed.retries().count(2000) > 1)
            written.append(await change(elsewhere, ada, "away"))
            async with proxy.host(store):
                await until(lambda: len(feed.ids("hello")) == 2)
                written.append(await change(elsewhere, ada, "after"))
                await until(lambda: feed.ids("user.updated")[-1:] == written[-1:])

    assert feed.ids("user.updated") == written
    assert feed.ids("reset") == []


async def test_room_feed_survives_as_well(proxy: RunningProxy, outside: aiohttp.ClientSession) -> None:
    """The feed of a room gets the same answer while Roster is away."""
    for path in ("/v1/rooms/tea/feed", "/v1/feed?after=0"):
        async with outside.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert answer.headers["Cache-Control"] == "no-store"
            assert await answer.text() == "retry: 2000\n\n"


async def test_refusals_of_a_feed_pass(behind: Server, outside: aiohttp.ClientSession) -> None:
    """What Roster itself answers on a feed is not replaced: 401 stays 401, with its problem."""
    async with outside.get("/v1/feed") as answer:
        assert (answer.status, answer.content_type) == (401, "application/problem+json")


async def test_websocket_passes(behind: Server, outside: aiohttp.ClientSession) -> None:
    """A WebSocket opens through the proxy, with its subprotocol, and echoes."""
    ada = await behind.member()
    async with outside.ws_connect("/v1/ws", headers=ada.headers, protocols=["roster.v1"]) as socket:
        assert socket.protocol == "roster.v1"
        assert (await socket.receive_json(timeout=5))["type"] == "hello"
        await socket.send_json({"type": "echo", "data": "☕", "ref": "1"})
        assert (await socket.receive_json(timeout=5))["data"] == "☕"
        await socket.close()
    assert socket.close_code == 1000


@pytest.mark.parametrize("proxy", PROXIES[2:], indirect=True)  # the one without TLS here
async def test_proxy_may_hold_many_connections(behind: Server, outside: aiohttp.ClientSession) -> None:
    """A trusted proxy is not limited like one client: 300 feeds through it are open at once."""
    ada = await behind.member()
    async with AsyncExitStack() as stack:
        for _ in range(300):
            answer = await stack.enter_async_context(outside.get("/v1/feed", headers=ada.headers))
            assert answer.status == 200
        await until(lambda: len(behind.app[SERVICES].connections) == 300)
