"""The promises at full size, against the service as it is deployed: `make soak` runs this too and prints what it saw."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.crashes import Run, on_postgres, on_sqlite
from tests.support.crowd import READERS, Lags, crowd
from tests.support.figures import Tell
from tests.support.gunicorn import gunicorn
from tests.support.ndjson import ndjson, person, post_import
from tests.support.readers import KINDS, Reader, seq_of
from tests.support.restarts import restart
from tests.support.server import Login
from tests.support.wait import BUSY_S, until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

MB: Final = 1_000_000


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """Both sides of every connection need one; the process under test inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = READERS + 1_000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(f"RLIMIT_NOFILE is {hard}, {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_thousands_that_are_cut_off_at_random_lose_nothing_and_receive_the_end(tell: Tell) -> None:
    """A thousand readers over SSE and a thousand over WebSocket drop, stall and come back at random for a minute while 20
    changes a second are made: each takes every event that it may read, once, in order; at SIGTERM each receives `closing`,
    or 1012, within the spread, and the process exits in time."""
    chance = random.Random(20)
    async with crowd() as (service, people):
        loop = asyncio.get_running_loop()
        tell(f"{READERS} readers connected in {await people.open():.2f} s")
        (begin,) = {seq_of(reader.place) for reader in people.readers}
        still, roaming = people.readers[1::100], [r for n, r in enumerate(people.readers) if n % 100 != 1]
        for reader in still:
            reader.on_taken = people.lags.end
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(reader.roam(random.Random(chance.random()), stop, rest_s=15, back_s=3))
            for reader in roaming
        ]
        last = await people.write(60)
        stop.set()
        await asyncio.gather(*tasks)
        tell("{:.1f} ms median, {:.1f} ms p99, {:.1f} ms longest from request to reader".format(*people.lags.take()))

        expected = await people.expected(begin)
        assert expected[people.admin.id][-1] == last
        await until(lambda: all(len(r.taken) >= len(expected[r.by.id]) for r in people.readers), timeout=20)
        assert all(reader.taken == expected[reader.by.id] for reader in people.readers)
        assert [reader.faults for reader in people.readers if reader.faults] == []
        assert [reader.resets for reader in people.readers if reader.resets] == []
        tell(
            f"{sum(len(reader.taken) for reader in people.readers):,} events taken over "
            f"{sum(reader.connections for reader in people.readers):,} connections; "
            f"{sum(reader.refused for reader in people.readers):,} came again and were known"
        )

        signalled_at = loop.time()
        service.signal(signal.SIGTERM)
        assert await service.exit_code(timeout_s=20) == 0
        exited_s = loop.time() - signalled_at
        await until(lambda: not any(reader.is_open for reader in people.readers))
        told_s = sorted(reader.told_at - signalled_at for reader in people.readers)
        assert all(reader.closing and reader.closing["reason"] == "restart" for reader in people.readers)
        assert all(reader.close_code == (0 if reader.kind == "feed" else 1012) for reader in people.readers)
        tell(
            f"closing received between {told_s[0]:.2f} and {told_s[-1]:.2f} s after SIGTERM; exit after {exited_s:.2f} s"
        )
        hints = [reader.closing["reconnect_after_ms"] for reader in people.readers if reader.closing]
        tell(f"to come back after {min(hints)} to {max(hints)} ms")
        assert told_s[-1] < 2 + BUSY_S
        assert exited_s < 2 + 5 + BUSY_S
        assert "Traceback" not in service.log()


async def test_twenty_peers_that_never_read_cost_little_and_are_gone(tell: Tell) -> None:
    """Twenty readers of a room, over SSE and WebSocket, that read none of 3,000 messages of 10 KB cost at most 25 MB and
    are gone within 40 seconds, with the settings as shipped; a hundred readers beside them get everything, no later than
    before."""
    async with crowd() as (service, people), AsyncExitStack() as stack:
        loop, lags = asyncio.get_running_loop(), Lags()
        ada, bob, *_ = people.members

        async def readers(by: Login, count: int, **kwargs: Any) -> list[Reader]:
            """So many in the lobby, of both kinds; the last is a member."""
            made = [
                Reader(people.server.port, by, KINDS[number % 2], all_events=True, room="lobby", **kwargs)
                for number in range(count)
            ]
            for reader in made:
                stack.callback(reader.drop, how="vanish")
                await reader.open()
            return made

        healthy = await readers(ada, 100, on_taken=lags.end)
        speaker = healthy[-1]

        async def speak(count: int) -> tuple[float, float, float]:
            """Have so many messages said, 200 a second, and heard; how long hearing took."""
            begin, before = loop.time(), len(speaker.taken)
            for number in range(count):
                await asyncio.sleep(begin + number / 200 - loop.time())
                lags.begin(before + number + 1)
                speaker.say("x" * 10_000)
            await until(lambda: all(len(reader.taken) == before + count for reader in healthy), timeout=10)
            return lags.take()

        memory = service.rss_bytes()
        descriptors = service.descriptors()
        await speak(1_000)
        alone = await speak(2_000)
        tell(f"{(service.rss_bytes() - memory) / MB:.1f} MB for the room's own memory of what is said")
        memory = service.rss_bytes()
        stalled = await readers(bob, 20, receive_buffer=8192)
        for reader in stalled:
            reader.stall()
        stalled_at, peak = loop.time(), memory
        speaking = asyncio.create_task(speak(3_000))
        while service.descriptors() > descriptors or not speaking.done():
            peak = max(peak, service.rss_bytes())
            assert loop.time() - stalled_at < 60, "they are not gone"
            await asyncio.sleep(0.05)
        gone_s, beside = loop.time() - stalled_at, await speaking
        tell(
            f"{(peak - memory) / MB:.1f} MB for 20 stalled readers of 3,000 messages of 10 KB; gone after {gone_s:.1f} s"
        )
        for label, (median, p99, longest) in (("without", alone), ("beside", beside)):
            tell(
                f"{label} them {median:.1f} ms median, {p99:.1f} ms p99, {longest:.1f} ms longest from sending to hearing"
            )
        assert peak - memory < 25 * MB
        assert gone_s < 40
        assert beside[1] < alone[1] * 2 + 50
        assert [reader.faults for reader in healthy if reader.faults] == []
        slow = [
            json.loads(line)
            for line in service.log().splitlines()
            if "client reads too slowly; closing the stream" in line
        ]
        assert len({line["connection"] for line in slow}) == 20
        assert {line["user"] for line in slow} == {bob.id}


async def test_memory_does_not_grow_with_those_who_came_and_left(tell: Tell) -> None:
    """The entries that two thousand readers took, who followed twenty changes a second and dropped at random, serve the next ones:
    within a minute after the last of four waves the process is about as large as it was after the first."""
    chance = random.Random(21)
    async with crowd() as (service, people):
        tell(f"{service.rss_bytes() / MB:.1f} MB before the first reader")
        first, most = 0, 0
        for _ in range(4):
            await people.open()
            opened, stop = service.rss_bytes(), asyncio.Event()
            roaming = [
                asyncio.create_task(reader.roam(random.Random(chance.random()), stop, rest_s=10, back_s=2))
                for reader in people.readers
            ]
            await people.write(15)
            stop.set()
            await asyncio.gather(*roaming)
            most = service.rss_bytes()
            people.leave()
            await until(lambda: service.descriptors() < 100, timeout=20)
            first = first or service.rss_bytes()
            tell(
                f"{opened / MB:.1f} MB with {READERS} readers, {most / MB:.1f} MB when they have come and gone at random, "
                f"{service.rss_bytes() / MB:.1f} MB when they have left"
            )
        # Four times 300 events lie in the log, and what the allocator keeps is never quite the same.
        await until(lambda: service.rss_bytes() < first + 12 * MB, timeout=60)
        tell(f"{(service.rss_bytes() - first) / MB:.1f} MB more at the end than after the first wave")
        assert [reader.faults for reader in people.readers if reader.faults] == []


async def test_reloads_and_a_killed_worker_lose_nothing(tell: Tell, tmp_path: Path) -> None:
    """The same at full size: a thousand readers over SSE and a thousand over WebSocket on a SQLite file, 20 changes a second,
    two reloads and one `kill -9`: nothing is lost or out of order, and every reader is back within ten seconds."""
    await restart(f"sqlite:///{tmp_path}/roster.db", READERS, tell, reloads=2, rest_s=5)


@pytest.mark.parametrize("store", [on_sqlite, on_postgres])
async def test_kill_at_a_random_moment_loses_nothing(store: Run, tell: Tell, tmp_path: Path) -> None:
    """Twenty times during two thousand writes: every write that was answered is there, a reader that comes back gets every
    event, in order, and no change is there by half."""
    await store(tmp_path, random.Random(22), rounds=20, writes=2_000, tell=tell)


async def test_memory_does_not_grow_with_what_is_imported(tell: Tell) -> None:
    """Once the newest of the log is in memory, two hundred thousand more lines go in, and all users out again, through a
    process that stays as large as it is, while others are served."""
    lines, waves = 50_000, 5
    async with gunicorn(ROSTER_STORE_URL="sqlite:///roster.db", ROSTER_RATE_LIMIT="off") as service:
        server, loop = service.server, asyncio.get_running_loop()
        admin = await server.admin()
        waits: list[float] = []
        peak = 0

        async def watch() -> None:
            nonlocal peak
            while True:
                asked_at = loop.time()
                await server.json("GET", "/v1/users/me", admin)
                waits.append(loop.time() - asked_at)
                peak = max(peak, service.rss_bytes())
                await asyncio.sleep(0.01)

        async def body(wave: int) -> AsyncIterator[bytes]:
            for start in range(0, lines, 500):
                yield ndjson(person(f"{wave}x{start + number}", name="Some Name") for number in range(500))

        watching = asyncio.create_task(watch())
        began_at, first = loop.time(), 0
        for wave in range(waves):
            assert (await post_import(server, admin, body(wave))).counts == (lines, 0, 0, 0)
            first = first or peak
        imported_s = loop.time() - began_at
        async with server.request("GET", "/v1/users/export", admin) as answer:
            exported = 0
            async for piece in answer.content.iter_any():
                exported += piece.count(b"\n")
        watching.cancel()
        await asyncio.wait((watching,))

        waits.sort()
        tell(f"{lines * waves / imported_s:,.0f} lines/s, made and read by a client on the same machine")
        tell(f"{waits[len(waits) * 99 // 100] * 1000:.1f} ms p99 of a GET beside it")
        tell(f"{first / MB:.1f} MB after the first {lines:,} lines, {peak / MB:.1f} MB at most in all")
        assert exported == lines * waves + 2  # the admin, and the end line
        assert peak - first < 25 * MB
        assert "Traceback" not in service.log()
