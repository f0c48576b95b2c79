"""All that a store holds, from one database to another."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from service.domain.errors import Unavailable
from service.store.maintenance import copying, locations
from service.store.maintenance.database import CHUNK
from service.store.postgres.store import PostgresStore
from service.store.sql import tables
from tests.support.clock import ManualClock
from tests.support.domain import a_user, keep
from tests.support.gunicorn import finished
from tests.support.maintenance import (
    contents,
    fill,
    filled,
    opened,
)
from tests.support.places import LASTING, NewPlace


@pytest.mark.parametrize("target_kind", LASTING)
@pytest.mark.parametrize("source_kind", LASTING)
async def test_copy_holds_the_same_in_a_new_epoch(new_place: NewPlace, source_kind: str, target_kind: str) -> None:
    """Every row, from either kind of database to either, and a store goes on with it; the place in the log is the same."""
    source, target = await new_place(source_kind), await new_place(target_kind)
    async with opened(source) as store:
        ada = await fill(store)
        before = await store.events.read_position()

    await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=False)

    assert await contents(target) == await contents(source)
    async with opened(target) as store:
        after = await store.events.read_position()
        assert after.seq == before.seq
        assert after.epoch != before.epoch
        assert (await store.users.find(ada.id)).value is not None
        await keep(store, a_user())
        assert (await store.events.read_position()).seq == before.seq + 1


@pytest.mark.parametrize("kind", LASTING)
async def test_rows_pass_some_at_a_time(new_place: NewPlace, kind: str) -> None:
    """However many there are, few are in memory."""
    source, target = await new_place(kind), await new_place(kind)
    async with opened(source) as store:
        for _ in range(5):
            await keep(store, *(a_user() for _ in range(CHUNK // 2)))
    async with locations.locate_database(source).open_reader() as reader:
        sizes = [len(rows) async for rows in reader.walk(tables.users)]

    assert sizes == [CHUNK, CHUNK, CHUNK // 2]
    await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=False)
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("kind", LASTING)
async def test_users_are_not_replaced_unasked(new_place: NewPlace, kind: str) -> None:
    """A target that holds some stays as it is, until it is said that they may be lost."""
    source, target = await filled(new_place, "sqlite"), await filled(new_place, kind)
    before = await contents(target)

    with pytest.raises(Unavailable, match="holds 2 users, which would be lost"):
        await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=False)
    assert await contents(target) == before
    await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=True)
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("kind", LASTING)
async def test_copy_that_fails_changes_nothing(new_place: NewPlace, kind: str) -> None:
    """Where the source cannot be read to its end, the target holds what it did."""
    source, target = await filled(new_place, "sqlite"), await filled(new_place, kind)
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE events SET subject = 'unknown' WHERE seq = 3")
    before = await contents(target)

    with pytest.raises(Unavailable, match="cannot be used: badly formed"):
        await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=True)
    assert await contents(target) == before


@pytest.mark.parametrize("kind", LASTING)
async def test_copy_that_is_killed_changes_nothing(new_place: NewPlace, kind: str) -> None:
    """However far it had come: here, to the last table."""
    source, target = await filled(new_place, "sqlite"), await filled(new_place, kind)
    before = await contents(target)
    script = (
        "import asyncio, os, sys\n"
        "from service.store.maintenance import copying, locations\n"
        "copying.new_epoch = lambda: os.kill(os.getpid(), 9)\n"
        "asyncio.run(copying.copy(locations.locate_database(sys.argv[1]), locations.locate_database(sys.argv[2]), replace=True))\n"
    )
    assert (await finished("-c", script, source, target))[0] == -signal.SIGKILL
    assert await contents(target) == before
    assert before["users"] != (await contents(source))["users"]


@pytest.mark.parametrize("kind", LASTING)
async def test_service_that_runs_keeps_its_data(new_place: NewPlace, kind: str) -> None:
    """The data of a running service is not replaced."""
    source, target = await filled(new_place, "sqlite"), await new_place(kind)
    async with opened(target) as store:
        with pytest.raises(Unavailable, match="belongs to process"):
            await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=True)
        await keep(store, a_user())


async def test_processes_that_share_a_database_keep_its_data(new_place: NewPlace) -> None:
    """The data of processes that share a database is not replaced; after they have stopped it is."""
    source, target = await filled(new_place, "sqlite"), await new_place("postgres")
    stores = [PostgresStore(target, ManualClock(), wait_s=None) for _ in range(2)]
    for store in stores:
        await store.open()
    await keep(stores[0], a_user())
    for store in stores:
        with pytest.raises(Unavailable, match=rf"is used by process {os.getpid()} on .* Stop all processes"):
            await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=True)
        await store.close()
    await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=True)

    assert (await contents(target))["users"] == (await contents(source))["users"]


async def test_rows_that_mean_nothing_elsewhere_stay_behind(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table may say so of itself."""
    source, target = await filled(new_place, "sqlite"), await new_place("sqlite")
    monkeypatch.setitem(tables.tickets.info, "copied", False)

    await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=False)

    held = await contents(target)
    assert held["tickets"] == []
    assert held["users"] == (await contents(source))["users"]


async def test_rows_that_refer_to_nothing_are_not_taken_over(new_place: NewPlace) -> None:
    """Constraints hold at the end, whatever the order in which rows come."""
    source, target = await filled(new_place, "sqlite"), await new_place("sqlite")
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DELETE FROM users")
    with pytest.raises(Unavailable, match="name others that are not there"):
        await copying.copy(locations.locate_database(source), locations.locate_database(target), replace=False)
    assert (await contents(target))["sessions"] == []


async def test_store_is_not_copied_onto_itself(new_place: NewPlace) -> None:
    """That is a slip of the pen."""
    source = await new_place("sqlite")
    with pytest.raises(Unavailable, match="cannot be copied to itself"):
        await copying.copy(locations.locate_database(source), locations.locate_database(source), replace=True)
