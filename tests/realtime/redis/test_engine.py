"""The room engine on Redis: what several processes see of one room."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from service.domain.errors import Unavailable
from service.realtime.redis.engine import RoomLimits
from tests.support.redis import RedisServer
from tests.support.room_engine import Follower, redis_engine
from tests.support.wait import until


async def test_a_message_reaches_every_process_with_the_same_position(server: RedisServer) -> None:
    """Two processes that read a room pass on the same messages with the same positions and times."""
    async with redis_engine(server.url) as one, redis_engine(server.url) as two:
        here, there = Follower(), Follower()
        await one.attach("lobby", here, create=True)
        await two.attach("lobby", there, create=True)
        sent = [await (one, two)[number % 2].send("lobby", b"%d" % number, None) for number in range(20)]
        await until(lambda: len(here.messages) == len(there.messages) == 20)
    assert here.messages == there.messages == [each.message for each in sent]
    assert [message.position.seq for message in here.messages] == list(range(1, 21))


async def test_the_sender_has_its_answer_before_the_message(server: RedisServer) -> None:
    """`send` returns before the subscriber of the same process receives the message."""
    order: list[str] = []

    class Witness(Follower):
        def on_message(self, message: object) -> None:
            asyncio.get_running_loop().call_soon(order.append, "message")

    async with redis_engine(server.url) as engine:
        await engine.attach("lobby", Witness(), create=True)
        for _ in range(20):
            await engine.send("lobby", b"1", None)
            order.append("sent")
        await until(lambda: len(order) == 40)
    assert order == ["sent", "message"] * 20


async def test_a_later_reader_gets_the_history(server: RedisServer) -> None:
    """A process that attaches a room later reads what the room retains, and no more than that."""
    limits = RoomLimits(history=5, history_s=3600, grace_s=0.2)
    async with redis_engine(server.url, limits) as one, redis_engine(server.url, limits) as two:
        for number in range(8):
            await one.send("lobby", b"%d" % number, None)
        follower = Follower()
        await two.attach("lobby", follower, create=False)
    assert follower.bodies == [b"3", b"4", b"5", b"6", b"7"]
    assert follower.head is not None
    assert follower.head.seq == 8


async def test_a_room_that_does_not_exist_is_not_made_by_a_look(server: RedisServer) -> None:
    """`attach` without `create` leaves no trace."""
    async with redis_engine(server.url) as engine:
        assert not await engine.attach("lobby", Follower(), create=False)
        assert await engine.list_rooms("", 10) == []


async def test_a_member_is_announced_once_whatever_its_connections(server: RedisServer) -> None:
    """A user in a room on two processes joins once, and leaves once, when the grace time after the last one is over."""
    user = uuid4()
    async with redis_engine(server.url) as one, redis_engine(server.url) as two:
        watcher = Follower()
        await one.attach("lobby", watcher, create=True)
        await two.attach("lobby", Follower(), create=True)
        await one.enter("lobby", user, "ada")
        await two.enter("lobby", user, "ada")
        await until(lambda: watcher.count == 1)
        one.leave("lobby", user)
        two.leave("lobby", user)
        await until(lambda: watcher.count == 0)
    assert watcher.joins == watcher.leaves == [user]


async def test_a_return_within_the_grace_time_is_silent(server: RedisServer) -> None:
    """A member that reconnects to another process is not announced."""
    user = uuid4()
    limits = RoomLimits(history=100, history_s=3600, grace_s=3600)
    async with redis_engine(server.url, limits) as one, redis_engine(server.url, limits) as two:
        watcher = Follower()
        await one.attach("lobby", watcher, create=True)
        await two.attach("lobby", Follower(), create=True)
        await one.enter("lobby", user, "ada")
        await until(lambda: watcher.count == 1)
        one.leave("lobby", user)
        await two.enter("lobby", user, "ada")
        assert [member.id for member in await two.list_members("lobby", None, 10)] == [user]
    assert watcher.joins == [user]
    assert watcher.leaves == []


async def test_a_flushed_server_begins_another_epoch(server: RedisServer) -> None:
    """After FLUSHALL each reader learns once that the epoch is another, and no position has two bodies."""
    async with redis_engine(server.url) as one, redis_engine(server.url) as two:
        here, there = Follower(), Follower()
        await one.attach("lobby", here, create=True)
        await two.attach("lobby", there, create=True)
        before = (await one.send("lobby", b"before", None)).message
        await until(lambda: there.bodies == [b"before"])
        server.command("FLUSHALL")
        after = (await two.send("lobby", b"after", None)).message
        await until(lambda: here.bodies == there.bodies == [b"after"])
    assert after.position.epoch != before.position.epoch
    assert here.resets == there.resets == ["epoch"]


async def test_rooms_are_listed_by_name_in_pages(server: RedisServer) -> None:
    """A page continues after the last name of the page before."""
    async with redis_engine(server.url) as engine:
        for name in ("c", "a", "b"):
            await engine.send(name, b"1", None)
        first = await engine.list_rooms("", 2)
        second = await engine.list_rooms(first[-1].name, 2)
    assert [room.name for room in (*first, *second)] == ["a", "b", "c"]


async def test_members_are_named_by_id_in_pages(server: RedisServer) -> None:
    """Members of all processes come by id."""
    users = sorted((uuid4() for _ in range(5)), key=str)
    async with redis_engine(server.url) as engine:
        watcher = Follower()
        await engine.attach("lobby", watcher, create=True)
        for user in reversed(users):
            await engine.enter("lobby", user, f"user{user}")
        await until(lambda: watcher.count == 5)
        first = await engine.list_members("lobby", None, 3)
        second = await engine.list_members("lobby", first[-1].id, 3)
    assert [member.id for member in (*first, *second)] == users
    assert first[0].username == f"user{users[0]}"
    assert {user: member.username for user, member in watcher.members.items()} == {
        user: f"user{user}" for user in users
    }


async def test_histories_together_stay_within_their_bound(server: RedisServer) -> None:
    """The history of the room that was silent longest is forgotten first."""
    limits = RoomLimits(history=100, history_s=3600, grace_s=0.2, most_bytes=3_000)
    async with redis_engine(server.url, limits) as engine:
        for name in ("a", "b", "c", "a", "d"):
            await engine.send(name, b"x" * 700, None)
        kept: dict[str, int] = {}
        for name in ("a", "b", "c", "d"):
            follower = Follower()
            await engine.attach(name, follower, create=False)
            kept[name] = len(follower.messages)
    assert kept == {"a": 2, "b": 0, "c": 1, "d": 1}


async def test_sends_are_refused_at_once_without_a_server(server: RedisServer) -> None:
    """A send to a server that is gone raises `Unavailable`."""
    async with redis_engine(server.url) as engine:
        server.kill()
        try:
            with pytest.raises(Unavailable):
                await engine.send("lobby", b"1", None)
        finally:
            server.start()
        await until(lambda: engine.is_ready)
        await engine.send("lobby", b"2", None)
