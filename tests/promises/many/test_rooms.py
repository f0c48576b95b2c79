"""Rooms over two workers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.support.gunicorn import Gunicorn
from tests.support.redis import RedisServer
from tests.support.wait import until
from tests.support.ws import Client, connect

pytestmark = pytest.mark.gunicorn

# So many that no worker holds all of them.
_SOCKETS: Final = 24


async def test_members_on_two_workers_share_one_room(service: Gunicorn) -> None:
    """All members receive the same messages in one order, senders of both workers among them, and each member is counted once."""
    server = service.server
    ada, bob = await server.member("ada"), await server.member("bob")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(server, (ada, bob)[number % 2])) for number in range(_SOCKETS)
        ]
        for client in clients:
            await client.ask("join", room="lobby")
        for number, client in enumerate(clients):
            assert (await client.ask("broadcast", room="lobby", data=number))["type"] == "sent"
        heard = await asyncio.gather(*(_messages(client, _SOCKETS) for client in clients))
        assert all(messages == heard[0] for messages in heard)
        assert [data for _, data in heard[0]] == list(range(_SOCKETS))
        seqs = [int(position.rpartition("-")[2]) for position, _ in heard[0]]
        assert seqs == list(range(1, _SOCKETS + 1))
        members = (await clients[0].ask("members", room="lobby"))["members"]
        assert {member["username"] for member in members} == {"ada", "bob"}
        listed = await server.json("GET", "/v1/rooms", ada)
        assert [(room["room"], room["count"]) for room in listed["items"]] == [("lobby", 2)]


async def test_rooms_are_refused_without_redis_and_come_back(service: Gunicorn, valkey: RedisServer) -> None:
    """While Redis does not answer, a send is refused within 1.1 seconds and accounts are served. Afterwards members receive
    messages again without joining again."""
    server = service.server
    ada = await server.member("ada")
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        valkey.freeze()
        try:
            async with asyncio.timeout(1.6):
                refused = await client.ask("broadcast", room="lobby", data=1)
            assert (refused["type"], refused["code"]) == ("error", "service_unavailable")
            await server.json("GET", "/v1/users/me", ada)
        finally:
            valkey.thaw()

        async def is_sent() -> bool:
            return bool((await client.ask("broadcast", room="lobby", data=2))["type"] == "sent")

        await until(is_sent)
        while (await client.until("message"))["data"] != 2:
            pass


async def test_a_flushed_redis_is_one_reset(service: Gunicorn, valkey: RedisServer) -> None:
    """After FLUSHALL every member receives one `reset` with the reason `epoch`, and messages of the new epoch."""
    server = service.server
    ada = await server.member("ada")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server, ada)) for _ in range(_SOCKETS)]
        for client in clients:
            await client.ask("join", room="lobby")
        first = (await clients[0].ask("broadcast", room="lobby", data="before"))["id"]
        for client in clients:
            assert (await client.until("message"))["id"] == first
        valkey.command("FLUSHALL")
        for client in clients:
            assert (await client.until("reset"))["reason"] == "epoch"
        second = (await clients[0].ask("broadcast", room="lobby", data="after"))["id"]
        for client in clients:
            assert (await client.until("message"))["id"] == second
    assert first.partition("-")[0] != second.partition("-")[0]


async def _messages(client: Client, count: int) -> list[tuple[str, object]]:
    messages = [await client.until("message", 10) for _ in range(count)]
    return [(message["id"], message["data"]) for message in messages]
