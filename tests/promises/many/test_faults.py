"""Two workers under a crowd of readers, while workers and servers fail."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import pytest

from tests.promises.many.conftest import shared_settings
from tests.support.crowd import Crowd, crowd
from tests.support.figures import Tell
from tests.support.gunicorn import Gunicorn
from tests.support.postgres import frozen, postgres
from tests.support.readers import Reader, seq_of
from tests.support.redis import RedisServer
from tests.support.talk import Talk
from tests.support.wait import until

pytestmark = [pytest.mark.gunicorn, pytest.mark.timeout(300)]

FEW: Final = 40
MANY: Final = 500  # readers of the feed, and as many of a room

Harm = Callable[[Gunicorn, Crowd, Talk], Awaitable[None]]


@pytest.mark.parametrize("readers", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
async def test_killed_workers_lose_nothing(place: str, valkey: RedisServer, readers: int, tell: Tell) -> None:
    """Workers are killed, five of them in the soak: readers of the feed and of a room come back to another worker and receive
    each event and message once, in order, without a reset. Members who came back are not announced as gone."""

    async def kill(service: Gunicorn, people: Crowd, talk: Talk) -> None:
        for _ in range(5 if readers == MANY else 2):
            os.kill(random.choice(service.workers), signal.SIGKILL)
            await until(lambda: all(reader.is_open for reader in (*people.readers, *talk.readers)), timeout=30)
            await until(lambda: len(service.workers) == 2, timeout=30)
            await asyncio.sleep(1)
        away = sorted(away_s for reader in (*people.readers, *talk.readers) for away_s in reader.away_s)
        tell(
            f"back after {away[len(away) // 2]:.2f} s (median), {away[-1]:.2f} s (last), half a second of it by choice"
        )

    await _endure(place, valkey, readers, kill)


@pytest.mark.parametrize("readers", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
async def test_reloads_lose_nothing(place: str, valkey: RedisServer, readers: int) -> None:
    """On HUP all workers are replaced: readers receive each event and message once, in order, without a reset."""

    async def reload(service: Gunicorn, people: Crowd, talk: Talk) -> None:
        for _ in range(3 if readers == MANY else 1):
            before = set(service.workers)
            service.signal(signal.SIGHUP)
            await until(partial(_are_others, service, before), timeout=30)
            await until(lambda: all(reader.is_open for reader in (*people.readers, *talk.readers)), timeout=30)

    await _endure(place, valkey, readers, reload)


@pytest.mark.soak
async def test_a_frozen_redis_costs_rooms_and_nothing_else(place: str, valkey: RedisServer) -> None:
    """Redis stands still for 15 seconds: requests and feeds go on, streams of rooms end and come back, and readers receive each
    event and message once, in order, without a reset."""

    async def freeze(service: Gunicorn, people: Crowd, talk: Talk) -> None:
        before = [reader.connections for reader in people.readers]
        valkey.freeze()
        try:
            # Streams end after five seconds, and clients try to come back.
            await until(lambda: all(reader.connections > 1 for reader in talk.readers), timeout=15)
            async with service.server.request("GET", "/health/ready") as answer:
                assert answer.status == 200
        finally:
            valkey.thaw()
        await until(lambda: all(reader.is_open for reader in talk.readers), timeout=60)
        assert [reader.connections for reader in people.readers] == before, "readers of the feed stayed"

    await _endure(place, valkey, FEW, freeze)


@pytest.mark.soak
async def test_a_frozen_postgresql_loses_nothing(valkey: RedisServer) -> None:
    """PostgreSQL stands still for seven seconds: streams end after five, and come back. Readers receive each event and message
    once, in order, without a reset."""

    async def freeze(service: Gunicorn, people: Crowd, talk: Talk) -> None:
        async with frozen(url):
            await until(lambda: all(reader.connections > 1 for reader in people.readers), timeout=20)
        await until(lambda: all(reader.is_open for reader in (*people.readers, *talk.readers)), timeout=60)

    with postgres(lasting=True) as url:
        await _endure(url, valkey, FEW, freeze)


async def test_a_restarted_redis_is_one_reset(place: str, valkey: RedisServer) -> None:
    """Redis loses everything: each reader of a room receives one reset with the reason `epoch`, and no position is used twice."""

    async def restart(_: Gunicorn, people: Crowd, talk: Talk) -> None:
        valkey.kill()
        valkey.start()
        await until(lambda: all(reader.resets for reader in talk.readers), timeout=20)

    await _endure(place, valkey, FEW, restart, keeps_rooms=False)


async def _have_one_head(service: Gunicorn) -> bool:
    """Whether all workers have followed the log up to the same event."""
    async with service.server.request("GET", "/metrics") as answer:
        return len(set(re.findall(r"roster_event_log_head\{.*\} (\S+)", await answer.text()))) == 1


def _are_others(service: Gunicorn, before: set[int]) -> bool:
    return len(service.workers) == 2 and not before & set(service.workers)


async def _endure(place: str, valkey: RedisServer, readers: int, harm: Harm, *, keeps_rooms: bool = True) -> None:
    """Have readers and writers work while harm is done; then judge what the readers received.

    Args:
        keeps_rooms: whether rooms keep their messages. If not, each reader of the room receives one reset.
    """
    chance = random.Random(13)
    settings = {**shared_settings(place, valkey), "ROSTER_WORKERS": "2", "ROSTER_DRAIN_SPREAD_S": "0.2"}
    async with crowd(readers, **settings) as (service, people):
        await service.all_serve(2)
        tasks: list[asyncio.Task[object]] = []
        talk = Talk(service.server, people.admin, people.members, readers)
        try:
            await until(partial(_have_one_head, service))
            await people.open()
            await talk.open()
            (begin,) = {seq_of(reader.place) for reader in people.readers}
            everyone: list[Reader] = [*people.readers, *talk.readers]
            stop = asyncio.Event()
            working = [
                asyncio.create_task(people.write_through(stop)),
                asyncio.create_task(talk.send_through(stop)),
            ]
            tasks += working
            tasks += [
                asyncio.create_task(reader.persist(random.Random(chance.random()), back_s=0.5)) for reader in everyone
            ]
            await asyncio.sleep(0.5)
            await harm(service, people, talk)
            stop.set()
            await asyncio.gather(*working)

            expected = await people.expected(begin)
            await until(lambda: all(len(r.taken) >= len(expected[r.by.id]) for r in people.readers), timeout=60)
            assert all(reader.taken == expected[reader.by.id] for reader in people.readers)
            assert [reader.faults for reader in everyone if reader.faults] == []
            assert [reader.resets for reader in people.readers if reader.resets] == []
            if keeps_rooms:
                seqs = list(range(2, len(talk.sent) + 1))  # the first message came before the readers
                await until(lambda: all(len(r.taken) >= len(seqs) for r in talk.readers), timeout=60)
                assert all(reader.taken == seqs for reader in talk.readers)
            resets = [[reset["reason"] for reset in reader.resets] for reader in talk.readers]
            assert resets == [[] if keeps_rooms else ["epoch"]] * len(talk.readers)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            talk.leave()
