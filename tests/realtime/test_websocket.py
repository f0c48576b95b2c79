"""The feed over a WebSocket, and how a socket ends with the rights of its user."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from typing import Any
from unittest import mock

import pytest

from service.http.services import SERVICES
from service.realtime.websocket_response import close_code
from tests.support.domain import a_user, keep
from tests.support.revocation import deactivate, delete, log_out, promote
from tests.support.server import Server, serve
from tests.support.wait import BUSY_S, until
from tests.support.ws import Client, Json, connect


def epoch(server: Server) -> str:
    return server.app[SERVICES].hub.epoch


def seq(frame: Json) -> int:
    return int(frame["event"]["id"].rpartition("-")[2])


async def write(server: Server, count: int) -> None:
    for number in range(count):
        await keep(server.app[SERVICES].store, a_user())
        if not number % 10:
            await asyncio.sleep(0)


async def take(client: Client, count: int) -> list[int]:
    """The seqs of the next so many frames, which must be events."""
    return [seq(await client.expect("event", 20)) for _ in range(count)]


async def test_subscription_begins_at_the_head_or_behind_the_place_asked_for(server: Server) -> None:
    """`subscribed` names the position, then every event after it comes, and live events follow with no gap."""
    admin = await server.admin()
    await write(server, 10)
    async with connect(server, admin) as now, connect(server, admin) as before:
        assert await now.ask("subscribe") == {"type": "subscribed", "position": now.hello["position"]}
        place = f"{epoch(server)}-4"
        assert await before.ask("subscribe", after=place) == {"type": "subscribed", "position": place}
        await write(server, 3)
        assert await take(now, 3) == [12, 13, 14]
        assert await take(before, 10) == list(range(5, 15))


async def test_event_is_the_json_of_the_feed(server: Server) -> None:
    """The same event over SSE and WebSocket is the same JSON."""
    ada = await server.member()
    async with connect(server, ada) as client, server.feed(ada) as stream:
        await client.ask("subscribe")
        await stream.expect("hello")
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
        assert (await client.expect("event"))["event"] == (await stream.expect("user.updated")).data


async def test_member_follows_itself_and_types_choose(server: Server) -> None:
    """Events about others do not come, nor events of types that were not requested."""
    admin, ada, bob = await server.admin(), await server.member(), await server.member()
    async with connect(server, ada) as own, connect(server, admin) as chosen:
        await own.ask("subscribe", after=f"{epoch(server)}-0")
        await chosen.ask("subscribe", types=["user.deleted", "session.ended"])
        for number in range(3):
            for who in (bob, ada):
                await server.json("PATCH", f"/v1/users/{who.id}", who, json={"name": f"name {number}"})
        await server.json("POST", "/v1/auth/logout", bob, status=204)
        assert (await chosen.expect("event"))["event"]["type"] == "session.ended"
        own_events = [(await own.expect("event"))["event"] for _ in range(4)]
        assert {event["subject"] for event in own_events} == {ada.id}
        assert await own.ask("ping") == {"type": "pong"}
        assert not own._aside


async def test_second_subscription_replaces_the_first(server: Server) -> None:
    """Nothing comes twice; after `unsubscribe` nothing comes at all."""
    admin = await server.admin()
    async with connect(server, admin) as client:
        await client.ask("subscribe")
        await write(server, 2)
        assert await take(client, 2) == [2, 3]
        await client.ask("subscribe", after=f"{epoch(server)}-1", types=["user.created"])
        await write(server, 1)
        assert await take(client, 3) == [2, 3, 4]
        assert await client.ask("unsubscribe") == {"type": "unsubscribed"}
        await write(server, 5)
        assert await client.ask("unsubscribe") == {"type": "unsubscribed"}
        assert not client._aside
    assert list(server.app[SERVICES].hub.live_readers()) == []


@pytest.mark.parametrize(("after", "reason"), [("other-3", "epoch"), ("EPOCH-1000", "ahead"), ("EPOCH-2", "trimmed")])
async def test_lost_position_is_a_reset(after: str, reason: str) -> None:
    """`subscribed` and `reset` name the new place; the subscription goes on from there."""
    async with serve(event_retention_count=5) as server:
        admin = await server.admin()
        await write(server, 10)
        await until(lambda: server.app[SERVICES].hub.ring.head == 11)
        async with connect(server, admin) as client:
            await client.send("subscribe", after=after.replace("EPOCH", epoch(server)))
            # First, so that no disconnect can hide it: a client with the new position has received the reset.
            reset = await client.expect("reset")
            answer = await client.expect("subscribed")
            await write(server, 1)
            assert await take(client, 1) == [12]
    position = f"{epoch(server)}-11"
    assert answer == {"type": "subscribed", "position": position}
    assert reset == {"type": "reset", "feed": True, "reason": reason, "position": position, "resync": "/v1/users"}


async def test_heartbeat_tells_up_to_where_the_feed_was_served(server: Server) -> None:
    """Only while subscribed; never ahead of an event that has not been sent."""
    admin, ada = await server.admin(), await server.member()

    async def write_and_beat() -> None:
        for _ in range(100):
            await keep(server.app[SERVICES].store, a_user())
            for _ in range(4):
                await asyncio.sleep(0)
                for connection in server.app[SERVICES].connections:
                    connection.ping()  # what the registry does every `ws_heartbeat_s`

    async with connect(server, admin) as client, connect(server, ada) as quiet, connect(server, ada) as silent:
        await client.ask("subscribe", after=f"{epoch(server)}-0")
        await quiet.ask("subscribe")
        writer = asyncio.create_task(write_and_beat())
        seen = beats = 0
        while seen < 102 or not beats:
            frame = await client.next()
            assert frame is not None
            if frame["type"] == "heartbeat":
                beats += 1
                assert frame["position"] == f"{epoch(server)}-{seen}"
            else:
                seen += 1
                assert seq(frame) == seen
        await writer
        while (await quiet.expect("heartbeat"))["position"] != f"{epoch(server)}-102":
            pass
        assert await silent.ask("ping") == {"type": "pong"}
        assert not silent._aside


async def test_sockets_that_subscribe_during_writes_see_exactly_what_lies_behind_their_place() -> None:
    """Sixty readers attach at random places while five hundred events are committed: no gap, no repeat."""
    total, chance = 500, random.Random(2)
    async with serve() as server, AsyncExitStack() as stack:
        admin = await server.admin()
        clients = [await stack.enter_async_context(connect(server, admin)) for _ in range(60)]

        async def read(client: Client) -> None:
            start = chance.randint(0, server.app[SERVICES].hub.ring.head)
            await client.send("subscribe", after=f"{epoch(server)}-{start}")
            await client.expect("subscribed")
            assert await take(client, total - start) == list(range(start + 1, total + 1))

        readers = []
        for number in range(total - 1):
            await keep(server.app[SERVICES].store, a_user())
            if not number % 8 and clients:
                readers.append(asyncio.create_task(read(clients.pop())))
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
        await asyncio.gather(*readers)
        assert not clients


@pytest.mark.parametrize(
    ("act", "reason", "code"),
    [
        (log_out, "session_ended", 4401),
        (promote, "rights_changed", 4401),
        (deactivate, "account_gone", 4403),
        (delete, "account_gone", 4403),
    ],
)
async def test_revocation_closes_the_socket_within_a_second(server: Server, act: Any, reason: str, code: int) -> None:
    """`closing` says why and the close code the same; sockets of others stay."""
    admin, ada, bob = await server.admin(), await server.member(), await server.member()
    async with connect(server, ada) as client, connect(server, bob) as other:
        await client.ask("join", room="lobby")
        began = time.monotonic()
        await act(server, admin, ada)
        closing, closed = await client.closing()
        assert time.monotonic() - began < 1 + BUSY_S
        assert await other.ask("ping") == {"type": "pong"}
    assert (closing["reason"], closed) == (reason, code)
    assert (closing["reconnect_after_ms"] is None) == (reason != "rights_changed")


async def test_socket_ends_with_its_token() -> None:
    """4401 `expired`, unless it is renewed."""
    async with serve(access_ttl_s=2) as server:
        ada = await server.member()
        async with connect(server, ada) as client:
            closing, code = await client.closing()
    assert (closing, code) == ({"type": "closing", "reason": "expired", "reconnect_after_ms": None}, 4401)


async def test_socket_does_not_outlive_its_feed(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A reader that fails closes the connection with 1013, whatever else it is used for."""
    admin = await server.admin()
    async with connect(server, admin) as client:
        with mock.patch.object(type(server.app[SERVICES].hub), "page", side_effect=OSError("the disk is gone")):
            await client.send("subscribe", after=f"{epoch(server)}-0")
            closing, code = await client.closing()
    assert (closing["reason"], code) == ("feed_failed", 1013)
    assert closing["reconnect_after_ms"] >= 250
    assert "reading for a stream failed; closing the stream" in caplog.text


async def test_idle_socket_costs_no_task_of_ours(server: Server) -> None:
    """Joined and subscribed at the head, it has only the task in which aiohttp runs its handler."""
    ada = await server.member()
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        await client.ask("subscribe")
        (connection,) = server.app[SERVICES].connections
        await until(lambda: all(reader.live for reader in connection.readers))
        await until(lambda: not server.app[SERVICES].tasks._tasks)
        assert len(connection.readers) == 2


@pytest.mark.parametrize(
    ("received", "answer"),
    [(0, 1000), (1000, 1000), (1001, 1001), (1005, 1002), (1006, 1002), (1015, 1002), (1004, 1002), (4000, 4000)],
)
def test_close_code_of_the_answer(received: int, answer: int) -> None:
    """The client's own, 1000 for none, 1002 for those that must not stand in a frame."""
    assert close_code(received) == answer
