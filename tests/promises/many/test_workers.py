"""Several workers as clients and operators see them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.promises.many.conftest import shared_settings
from tests.support.gunicorn import Gunicorn, gunicorn
from tests.support.redis import RedisServer
from tests.support.wait import BUSY_S, until
from tests.support.walk import walk_readme
from tests.support.ws import connect

pytestmark = pytest.mark.gunicorn


# So many streams that no worker holds all of them.
_FEEDS: Final = 24


async def test_metrics_and_log_lines_name_their_worker(service: Gunicorn, tmp_path: Path) -> None:
    """The walk of README works. Whatever worker answers, `/metrics` has the samples of both. Each line of a worker has its number."""
    await walk_readme(service.server.port, tmp_path, known=False)
    assert await _labels(service, "roster_event_log_head") == {"0", "1"}
    serving = [json.loads(line) for line in service.log().splitlines() if '"serving"' in line]
    assert sorted(line["worker"] for line in serving) == [0, 1]


async def test_feeds_of_all_workers_receive_each_change_and_each_logout(service: Gunicorn) -> None:
    """Readers of both workers receive each change once, in one order. A session that ends on one worker ends its streams on
    both within a second."""
    server = service.server
    admin = await server.admin()
    async with AsyncExitStack() as stack:
        feeds = [await stack.enter_async_context(server.feed(admin)) for _ in range(_FEEDS)]
        for feed in feeds:
            await feed.expect("hello")
        assert await _labels(service, "roster_feed_live_readers") == {"0", "1"}
        for number in range(10):
            body = {"username": f"user{number}", "email": f"user{number}@example.com"}
            await server.json("POST", "/v1/users", admin, status=201, json=body)
        for feed in feeds:
            received = [await feed.expect("user.created") for _ in range(10)]
            assert [event.data["user"]["username"] for event in received] == [f"user{number}" for number in range(10)]
        await server.json("POST", "/v1/auth/logout", admin, status=204)
        async with asyncio.timeout(1 + BUSY_S):
            for feed in feeds:
                await feed.expect("session.ended")
                assert (await feed.expect("closing")).data["reason"] == "session_ended"


async def test_connections_of_a_user_are_counted_over_all_workers(place: str, valkey: RedisServer) -> None:
    """A user may have as many streams as the setting says, on all workers together; further ones end with 4429."""
    settings = {**shared_settings(place, valkey), "ROSTER_WORKERS": "2", "ROSTER_MAX_CONNECTIONS_PER_USER": "20"}
    async with gunicorn(**settings) as service:
        await service.all_serve(2)
        ada = await service.server.member("ada")
        async with AsyncExitStack() as stack:
            for _ in range(20):
                await stack.enter_async_context(connect(service.server, ada))
            async with connect(service.server, ada) as client:
                assert (await client.closing())[1] == 4429
        async with connect(service.server, ada) as client:
            assert (await client.ask("ping"))["type"] == "pong"


@pytest.mark.soak
async def test_connections_are_spread_over_the_workers(place: str, valkey: RedisServer) -> None:
    """Of 1,000 connections that come at once the busiest of four workers holds at most 1.3 times the mean."""
    async with gunicorn(**shared_settings(place, valkey), ROSTER_WORKERS="4") as service:
        await service.all_serve(4)
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", service.server.port) for _ in range(1_000))
        )
        counts: Counter[int] = Counter()

        def all_accepted() -> bool:
            counts.clear()
            counts.update({pid: service.sockets_of(pid) for pid in service.workers})
            return counts.total() >= 1_000

        await until(all_accepted, timeout=10)
        for _, writer in opened:
            writer.close()
    assert max(counts.values()) <= 1.3 * counts.total() / 4, counts


async def _labels(service: Gunicorn, name: str) -> set[str]:
    """The workers whose sample of this name is not zero."""
    async with service.server.request("GET", "/metrics") as answer:
        page = await answer.text()
    return set(re.findall(rf'{name}{{worker="(\d)"}} [1-9]', page))
