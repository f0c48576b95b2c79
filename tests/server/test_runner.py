"""How the service comes to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from service.config.load import load
from service.http.services import SERVICES
from service.server.runner import Runner
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD, Server, serve
from tests.support.wait import until


@asynccontextmanager
async def stoppable(**settings: Any) -> AsyncIterator[tuple[Server, asyncio.Event]]:
    """A running service that begins to stop when the event is set; the block ends when it has stopped."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        server = await stack.enter_async_context(serve(**settings))
        running = stack.pop_all()

        async def end() -> None:
            await stop.wait()
            await running.aclose()

        tasks.create_task(end(), name="stop the service")
        yield server, stop


@pytest.mark.parametrize("serving", [True, False])
async def test_stop_is_logged_once(serving: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The first signal is what it stops for, also where it came before anything was served; the log closes last."""
    caplog.set_level(logging.INFO, "roster")
    closed: list[int] = []
    async with serve() as server:
        runner = Runner(server.app, lambda: closed.append(len(caplog.records)))
    caplog.clear()
    if serving:
        runner.serving()
    runner.request_shutdown(signal.SIGTERM)
    runner.request_shutdown(signal.SIGINT)
    await runner.cleanup()
    await runner.cleanup()  # harmless

    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["serving"] * serving + ["shutdown requested", "shutdown complete"]
    assert closed == [len(messages)] * 2
    assert vars(caplog.records[-2])["signal"] == "SIGTERM"
    assert vars(caplog.records[-1])["served_s"] == (0 if serving else None)


async def test_request_whose_body_is_on_its_way_is_answered() -> None:
    """A request that has begun before the stop is read to its end and answered; aiohttp by itself would drop the rest."""
    async with stoppable() as (server, stop):
        await server.member("ada")
        body = json.dumps({"login": "ada", "password": PASSWORD}).encode()
        async with raw_peer(server.port) as peer:
            await peer.announce("/v1/auth/login", len(body))

            stop.set()
            await until(lambda: server.app[SERVICES].connections.draining)
            await peer.send(body)

            assert (await peer.answer()).status == 200


async def test_readiness_fails_before_anything_else_does() -> None:
    """For as long as balancers need to notice, new connections and streams are served as before; then streams end."""
    async with stoppable(drain_delay_s=0.5) as (server, stop):
        ada = await server.member("ada")
        async with server.feed(ada) as feed:
            await feed.expect("hello")
            stop.set()
            await until(lambda: server.app[SERVICES].connections.shutting_down)
            problem = await server.json("GET", "/health/ready", status=503)
            assert problem["detail"] == "The service is stopping."
            async with raw_peer(server.port) as peer:
                await peer.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await peer.answer()).status == 200
            async with server.feed(ada) as late:
                await late.expect("hello")
                assert server.app[SERVICES].connections.draining is None
                for stream in (feed, late):
                    assert (await stream.expect("closing")).data["reason"] == "restart"


async def test_feed_opened_while_streams_end_is_closed_with_a_reconnect_time() -> None:
    """Over a connection that was open before it gets 200, `retry`, `closing` and its end, never a 503: EventSource would
    give up for ever."""
    async with stoppable(drain_spread_s=1) as (server, stop):
        ada = await server.member("ada")
        async with raw_peer(server.port) as peer, server.feed(ada), server.feed(ada) as last:
            await last.expect("hello")
            head = f"GET /v1/feed HTTP/1.1\r\nHost: x\r\nAuthorization: {ada.headers['Authorization']}\r\n"
            # The head is begun before the stop, so that the connection is not an idle one.
            await peer.send(head)
            stop.set()
            await until(lambda: server.app[SERVICES].connections.draining)
            await peer.send("\r\n")
            answer = await peer.answer()
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/event-stream"
            told = answer.body.decode()
            assert "event: hello" in told or "event: closing" in told
            assert '"reason":"restart"' in told
            assert "\nretry: " in told or told.startswith("retry: ")


async def test_connection_that_was_kept_alive_gets_its_last_answer_while_streams_end() -> None:
    """It gets `Connection: close`; an idle one is closed, so that its client connects elsewhere."""
    async with stoppable(drain_spread_s=1) as (server, stop):
        ada = await server.member("ada")
        async with (
            raw_peer(server.port) as busy,
            raw_peer(server.port) as idle,
            server.feed(ada),
            server.feed(ada) as last,
        ):
            await last.expect("hello")
            for peer in (busy, idle):
                await peer.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = await peer.answer()
                assert (answer.status, answer.headers.get("connection")) == (200, None)
            stop.set()
            await until(lambda: server.app[SERVICES].connections.draining)
            await asyncio.sleep(0.1)  # for longer than the service waits between two looks
            await busy.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await busy.answer()
            assert (answer.status, answer.headers.get("connection")) == (200, "close")
            assert await busy.is_closed()
            assert len(server.app[SERVICES].connections) == 1
            assert await idle.is_closed()


async def test_body_that_never_comes_does_not_hold_the_service() -> None:
    """A request that stalls is waited for no longer than the shutdown timeout, then its connection ends."""
    async with stoppable(shutdown_timeout_s=0.2) as (server, stop), raw_peer(server.port) as peer:
        await peer.announce("/v1/auth/login", 100)

        stop.set()

        assert await peer.is_closed()


async def test_websocket_is_heard_until_its_turn_to_end_comes() -> None:
    """While streams end one after the other, those whose turn has not come are served as before."""
    async with stoppable(drain_spread_s=1.0) as (server, stop):
        ada = await server.member("ada")
        async with server.ws(ada) as first, server.ws(ada) as second:
            for socket in (first, second):
                assert (await socket.receive_json(timeout=5))["type"] == "hello"

            stop.set()
            assert (await first.receive_json(timeout=5))["type"] == "closing"
            await second.send_json({"type": "ping"})

            assert (await second.receive_json(timeout=5))["type"] == "pong"
            assert (await second.receive_json(timeout=5))["type"] == "closing"


def test_default_drain_fits_into_what_docker_allows() -> None:
    """Every step of a stop at its bound takes less than the ten seconds of `docker stop`, with the default settings."""
    defaults = load(_env_file=None)
    steps_s = defaults.drain_delay_s + defaults.drain_spread_s + 2 * defaults.shutdown_timeout_s + 3
    assert steps_s < 10


@pytest.mark.soak
async def test_thousand_streams_end_within_the_default_drain() -> None:
    """With a thousand open feeds and the default settings a stop takes less than ten seconds."""
    defaults = load(_env_file=None)
    settings = {name: getattr(defaults, name) for name in ("drain_delay_s", "drain_spread_s", "shutdown_timeout_s")}
    async with AsyncExitStack() as feeds:
        async with serve(**settings) as server:
            ada = await server.member()
            for _ in range(1_000):
                await feeds.enter_async_context(server.feed(ada))
            began = time.monotonic()
        assert time.monotonic() - began < 10
