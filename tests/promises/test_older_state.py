"""Promise: a store that was restored to an older state under the running service has a new epoch, and readers are reset."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest

from service.http.services import SERVICES
from tests.support.domain import a_user, keep
from tests.support.places import NewPlace
from tests.support.readers import KINDS, Reader, seq_of
from tests.support.server import Server, serve
from tests.support.wait import until

PutBack = Callable[[int], Awaitable[None]]
Running = tuple[Server, Callable[[], Awaitable[None]], PutBack]


@asynccontextmanager
async def in_sqlite(new_place: NewPlace) -> AsyncIterator[Running]:
    """A backup is taken with SQLite's own means, and put back with them."""
    url = await new_place("sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    copy = path.with_name("copy.db")

    def copied(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
            from_.backup(to)

    async def take() -> None:
        copied(path, copy)

    async def put_back(_: int) -> None:
        copied(copy, path)

    async with serve(store_url=url) as server:
        yield server, take, put_back


@asynccontextmanager
async def in_postgres(new_place: NewPlace) -> AsyncIterator[Running]:
    """The state after a restored dump, or on a standby that was late: tables as they were at a seq."""

    url = await new_place("postgres")

    async def take() -> None: ...

    async def put_back(seq: int) -> None:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute("DELETE FROM users WHERE version > $1", seq)
            await connection.execute("DELETE FROM events WHERE seq > $1", seq)
            await connection.execute("UPDATE log SET seq = $1", seq)
        await connection.close()

    async with serve(store_url=url) as server:
        yield server, take, put_back


@pytest.mark.parametrize("written", [0, 3, 30], ids=["nothing", "less than was lost", "more than was lost"])
@pytest.mark.parametrize("store", [in_sqlite, in_postgres])
async def test_readers_of_what_was_taken_back_are_reset(
    new_place: NewPlace,
    store: Callable[[NewPlace], AbstractAsyncContextManager[Running]],
    written: int,
) -> None:
    """Whatever was written before the service noticed: streams end with `closing`, and readers that resume are reset to another epoch and
    sees what happens there."""
    async with store(new_place) as (server, take, put_back):
        admin = await server.admin()
        kept = server.app[SERVICES].store
        await take()
        before = await kept.events.read_position()
        for _ in range(10):
            await keep(kept, a_user())
        readers = [Reader(server.port, admin, kind, all_events=True) for kind in KINDS]
        for reader in readers:
            await reader.open(f"{before.epoch}-{before.seq}")
        await until(lambda: all(len(reader.taken) == 10 for reader in readers))

        await put_back(before.seq)
        await keep(kept, *(a_user() for _ in range(written)))  # one commit: no reader sees a part of them
        await until(lambda: all(reader.close_code is not None for reader in readers))
        assert [reader.faults for reader in readers] == [[], []]
        assert {reader.closing and reader.closing["reason"] for reader in readers} == {"feed_failed"}

        for reader in readers:
            reader.drop(how="goodbye")  # of a feed the stream ends, and not the connection
            await reader.open()
        await until(lambda: all(reader.resets for reader in readers))
        after = await kept.events.read_position()
        assert after.epoch != before.epoch
        assert [(told["reason"], told["position"]) for reader in readers for told in reader.resets] == [
            ("epoch", str(after))
        ] * 2
        user = await server.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": "again"})
        await until(lambda: all(reader.place == f"{after.epoch}-{user['version']}" for reader in readers))
        assert user["version"] == seq_of(str(after)) + 1
        for reader in readers:
            reader.drop(how="goodbye")


async def test_readers_are_reset_where_other_events_have_taken_the_seqs(new_place: NewPlace) -> None:
    """A standby that lacks the last commits takes over, and other processes write past them before this one looks: the log is no
    shorter, but other events have the seqs that readers have seen. Their streams end, and they are reset to another epoch."""
    url = await new_place("postgres")
    async with serve(store_url=url) as server:
        admin = await server.admin()
        store = server.app[SERVICES].store
        await keep(store, *(a_user() for _ in range(5)))
        reader = Reader(server.port, admin, "feed", all_events=True)
        before = await store.events.read_position()
        await reader.open(f"{before.epoch}-{before.seq - 5}")
        await until(lambda: len(reader.taken) == 5)

        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE events SET time = time + interval '1 second' WHERE seq > $1", before.seq - 3)
        await connection.close()
        await until(lambda: reader.close_code is not None)
        assert reader.closing is not None
        assert reader.closing["reason"] == "feed_failed"

        reader.drop(how="goodbye")
        await reader.open()
        await until(lambda: reader.resets)
        assert [reset["reason"] for reset in reader.resets] == ["epoch"]
        assert (await store.events.read_position()).epoch != before.epoch
        reader.drop(how="goodbye")
