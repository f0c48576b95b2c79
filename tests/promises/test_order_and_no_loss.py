"""Promise: everybody sees every event that it may see, once, in the order in which things happened."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import pytest

from service.http.services import SERVICES
from tests.support.drawn import repetitions
from tests.support.readers import KINDS, Reader, seq_of
from tests.support.server import Login, Server, serve
from tests.support.wait import until

BURST: Final = 250  # sent at once, twice a second


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("of_kind", "writes"), [(8, 1_000), pytest.param(50, 3_000, marks=pytest.mark.soak)])
async def test_readers_that_drop_and_stall_and_come_back_miss_nothing(
    chance: random.Random, of_kind: int, writes: int
) -> None:
    """Many readers, administrators and members, over SSE and WebSocket, are cut off, stall and come back at random
    while others write in bursts, 500 a second: each takes every event that it may read, once, in order, and none is
    reset."""
    # Small buffers of the kernel's, so that a stall of a moment fills the service's own as well.
    async with serve(sse_keepalive_s=0.3, ws_heartbeat_s=10, send_buffer=16_384) as server:
        admin = await server.admin()
        members = [await server.member() for _ in range(of_kind // 2)]
        readers = [
            Reader(server.port, admin, kind, all_events=True, receive_buffer=8192)
            for kind in KINDS
            for _ in range(of_kind)
        ]
        readers += [
            Reader(server.port, member, kind, all_events=False, receive_buffer=8192)
            for kind in KINDS
            for member in members
            for _ in range(2)
        ]
        await asyncio.gather(*(reader.open() for reader in readers))
        (begin,) = {seq_of(reader.place) for reader in readers}

        stop = asyncio.Event()
        roaming = [
            asyncio.create_task(reader.roam(random.Random(chance.random()), stop, rest_s=0.6, back_s=0.3))
            for reader in readers
        ]
        full, answered = 0, set[int]()
        for first in range(0, writes, BURST):
            answers, _ = await asyncio.gather(burst(server, admin, members, first), asyncio.sleep(0.5))
            answered |= answers
            full = max(full, sum(connection.is_full for connection in server.app[SERVICES].connections))
        stop.set()
        await asyncio.gather(*roaming)

        log = await logged(server, admin)
        expected = {
            reader: [seq for seq, subject in log if seq > begin and (reader.by is admin or subject == reader.by.id)]
            for reader in readers
        }

        async def are_complete() -> bool:
            for reader in readers:
                # On a busy machine one that has just gone on may be cut off for the heartbeat that it missed.
                if not reader.is_open:
                    await reader.open()
            return all(len(reader.taken) >= len(seqs) for reader, seqs in expected.items())

        await until(are_complete, timeout=40)
        assert [reader.faults for reader in readers if reader.faults] == []
        assert [reader.resets for reader in readers if reader.resets] == []
        for reader, seqs in expected.items():
            assert reader.taken == seqs, f"{reader.kind} of {reader.by.username}"
        assert answered <= {seq for seq, _ in log}
        for reader in readers:
            reader.drop(how="goodbye")
        await until(lambda: not len(server.app[SERVICES].connections))

    # It was as said: sockets were full, readers came and went, and the version rule was needed.
    assert full
    assert sum(reader.connections for reader in readers) > 2 * len(readers)
    assert sum(reader.refused for reader in readers)


async def burst(server: Server, admin: Login, members: list[Login], first: int) -> set[int]:
    """Write so many times at once, in long names; the versions that were answered."""

    async def rename(member: Login, number: int) -> int:
        user = await patch(server, member, member, f"{number} {'𝄞' * 80}")
        return int(user["version"])

    async def create(number: int) -> int:
        body = {"username": f"made{number}", "email": f"made{number}@example.com", "name": "𝄞" * 80}
        user = await server.json("POST", "/v1/users", admin, status=201, json=body)
        return int(user["version"])

    return set(
        await asyncio.gather(
            *(
                rename(members[number % len(members)], number) if number % 4 else create(number)
                for number in range(first, first + BURST)
            )
        )
    )


async def patch(server: Server, by: Login, user: Login, name: str) -> Any:
    return await server.json("PATCH", f"/v1/users/{user.id}", by, json={"name": name})


async def logged(server: Server, admin: Login) -> list[tuple[int, str]]:
    """Every event of the log: its seq and whom it is about."""
    found: list[tuple[int, str]] = []
    after: str | None = "0"
    while after:
        page = await server.json("GET", "/v1/events", admin, params={"after": after, "limit": "100"})
        found += [(seq_of(event["id"]), event["subject"]) for event in page["items"]]
        after = page["next"]
    return found


@pytest.mark.drawn
async def test_writes_of_one_are_seen_in_their_order(server: Server) -> None:
    """Hundreds of changes, each made after the answer to the one before, come in that order, with their content, over SSE
    and WebSocket."""
    admin = await server.admin()
    names = [f"name {number}" for number in range(repetitions(2_000, 600))]
    async with server.feed(admin) as feed, server.ws(admin) as socket:
        await feed.expect("hello")
        await socket.send_json({"type": "subscribe"})
        assert (await socket.receive_json(timeout=5))["type"] == "hello"
        assert (await socket.receive_json(timeout=5))["type"] == "subscribed"

        async def write() -> list[tuple[int, str]]:
            return [((await patch(server, admin, admin, name))["version"], name) for name in names]

        async def read_feed() -> list[tuple[int, str]]:
            found: list[tuple[int, str]] = []
            while len(found) < len(names):
                frame = await feed.expect("user.updated", timeout_s=10)
                found.append((seq_of(frame.id or ""), frame.data["user"]["name"]))
            return found

        async def read_socket() -> list[tuple[int, str]]:
            events = [(await socket.receive_json(timeout=10))["event"] for _ in names]
            return [(seq_of(event["id"]), event["user"]["name"]) for event in events]

        written, *seen = await asyncio.gather(write(), read_feed(), read_socket())
    assert [seq for seq, _ in written] == list(range(written[0][0], written[0][0] + len(names)))
    assert seen == [written, written]


async def test_writes_of_many_are_seen_in_the_order_of_their_versions(server: Server) -> None:
    """Sixteen who change the same user at once get each a version of its own, find their event with the next request, and
    every reader sees the changes in the order of these versions, each with the content that was answered for it."""
    admin = await server.admin()
    answers: dict[int, str] = {}

    async def write(writer: int) -> None:
        for number in range(40):
            user = await patch(server, admin, admin, f"{writer} {number}")
            version = user["version"]
            assert version not in answers
            answers[version] = user["name"]
            if number % 8 == 0:
                page = await server.json("GET", "/v1/events", admin, params={"after": f"{epoch}-{version - 1}"})
                assert page["items"][0]["user"]["version"] == version

    async with server.feed(admin) as feed:
        hello = await feed.expect("hello")
        epoch, _, begin = hello.data["position"].rpartition("-")
        seen = {}
        async with asyncio.TaskGroup() as writers:
            for writer in range(16):
                writers.create_task(write(writer))
            for _ in range(16 * 40):
                frame = await feed.expect("user.updated", timeout_s=10)
                assert frame.data["user"]["version"] == seq_of(frame.id or "")
                seen[seq_of(frame.id or "")] = frame.data["user"]["name"]
    assert list(seen) == list(range(int(begin) + 1, int(begin) + 1 + 16 * 40))
    assert seen == answers
    for writer in range(16):
        of_one = [name for name in seen.values() if name.startswith(f"{writer} ")]
        assert of_one == [f"{writer} {number}" for number in range(40)]
