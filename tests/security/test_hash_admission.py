"""Places before the hashing threads: shared among networks, and freed when a client disconnects."""

from __future__ import annotations

import asyncio

import pytest

from service.domain.errors import TooMany
from service.security.hash_admission import HashAdmission
from tests.support.domain import PlainHasher
from tests.support.server import ADMIN_PASSWORD, PASSWORD, Server, serve
from tests.support.wait import until


class SlowHasher(PlainHasher):
    """A hasher whose jobs end on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.before_hash = self.before_verify = self.go_on.wait


async def test_network_takes_a_quarter() -> None:
    """One network has so many waiting and no more, whatever they are for; others have as many again."""
    slow = SlowHasher()
    places = HashAdmission(slow, 64)
    waiting = [asyncio.create_task(places.of("192.0.2.1").hash("one")) for _ in range(8)]
    waiting += [asyncio.create_task(places.of("::ffff:192.0.2.1").hash("one")) for _ in range(8)]
    await until(lambda: len(slow.hashed) == 16)

    with pytest.raises(TooMany) as refused:
        await places.of("192.0.2.1").verify("hash of one", "one")
    assert refused.value.retry_after_s == 1
    waiting += [asyncio.create_task(places.of("192.0.2.2").hash("two")) for _ in range(16)]
    await until(lambda: len(slow.hashed) == 32)
    slow.go_on.set()
    assert await asyncio.gather(*waiting) == ["hash of one"] * 16 + ["hash of two"] * 16
    await has_all_places(slow, places)


async def has_all_places(slow: SlowHasher, places: HashAdmission) -> None:
    """Sixteen of the first network get in again: none of those before has kept a place."""
    slow.go_on.set()
    await asyncio.gather(*(places.of("192.0.2.1").hash("again") for _ in range(16)))


async def test_short_queues_have_a_few_for_everybody() -> None:
    """Four of a network may wait however few places there are."""
    slow = SlowHasher()
    places = HashAdmission(slow, 1)
    waiting = [asyncio.create_task(places.of("192.0.2.1").hash("one")) for _ in range(5)]
    await until(lambda: any(task.done() for task in waiting))
    slow.go_on.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert [isinstance(end, TooMany) for end in ended] == [False] * 4 + [True]


async def test_who_leaves_frees_the_place() -> None:
    """Waiting jobs are dropped, their callers are cancelled, and nothing more starts; twice does no harm."""
    slow = SlowHasher()
    places = HashAdmission(slow, 64)
    place = places.of("192.0.2.1")
    waiting = asyncio.create_task(place.hash("one"))
    await until(lambda: slow.hashed)
    place.leave()
    place.leave()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await has_all_places(slow, places)
    with pytest.raises(asyncio.CancelledError):
        await place.verify("hash of one", "one")
    assert slow.verified == []


async def test_failed_hash_frees_the_place() -> None:
    """An error of the hasher itself frees the place."""
    slow = SlowHasher()

    async def breaks() -> None:
        raise KeyError

    slow.before_hash = breaks
    places = HashAdmission(slow, 64)
    with pytest.raises(KeyError):
        await places.of("192.0.2.1").hash("one")
    slow.before_hash = slow.go_on.wait
    await has_all_places(slow, places)


# Over HTTP


async def log_in(server: Server, client: str) -> tuple[int, str | None]:
    body = {"login": "admin", "password": ADMIN_PASSWORD}
    headers = {"X-Forwarded-For": client}
    async with server.request("POST", "/v1/auth/login", json=body, headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def test_flood_from_one_network_leaves_room_for_others() -> None:
    """Over its share a network gets 429 and when to come back, also for registering; another one gets in meanwhile."""
    slow = SlowHasher()
    slow.go_on.set()
    async with serve(hasher=slow, hash_queue=8, trusted_proxies=("127.0.0.0/8",)) as server:
        slow.go_on.clear()
        flood = [asyncio.create_task(log_in(server, "192.0.2.1")) for _ in range(10)]
        await until(lambda: sum(task.done() for task in flood) == 6)
        other = asyncio.create_task(log_in(server, "192.0.2.2"))
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        await server.json("POST", "/v1/auth/register", status=429, json=body, headers={"X-Forwarded-For": "192.0.2.1"})
        await until(lambda: len(slow.verified) == 5)
        slow.go_on.set()
        answers = await asyncio.gather(*flood)

        assert sorted(answers, key=str) == [(200, None)] * 4 + [(429, "1")] * 6
        assert await other == (200, None)


async def test_client_that_goes_away_waits_no_longer() -> None:
    """A login whose client has gone is dropped before its turn, opens no session, and leaves its place to the next."""
    slow = SlowHasher()
    slow.go_on.set()
    async with serve(hasher=slow, hash_queue=8) as server:
        admin = await server.admin()
        slow.go_on.clear()
        gone = [asyncio.create_task(log_in(server, "192.0.2.1")) for _ in range(4)]
        await until(lambda: len(slow.verified) == 1 + 4)
        assert await log_in(server, "192.0.2.1") == (429, "1")
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        tries: list[asyncio.Task[tuple[int, str | None]]] = []

        async def next_gets_in() -> bool:
            before = len(slow.verified)
            tries.append(asyncio.create_task(log_in(server, "192.0.2.1")))
            await until(lambda: tries[-1].done() or len(slow.verified) > before)
            return not tries[-1].done()

        await until(next_gets_in)
        slow.go_on.set()
        assert await tries[-1] == (200, None)
        sessions = await server.json("GET", "/v1/auth/sessions", admin)
        assert len(sessions["items"]) == 2
