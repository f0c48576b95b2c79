"""Whether what a database holds is what a store may hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import asyncpg
import pytest

from service.domain.errors import Unavailable
from service.store.maintenance import locations
from service.store.maintenance.checking import check
from service.store.sql import schema
from tests.support.maintenance import fill, filled, opened
from tests.support.places import LASTING, NewPlace


async def _run(url: str, statement: str) -> None:
    path = url.removeprefix("sqlite:///")
    if path != url:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        return
    server = await asyncpg.connect(url)
    await server.execute(statement)
    await server.close()


@pytest.mark.parametrize("kind", LASTING)
async def test_store_in_use_is_as_it_must_be(new_place: NewPlace, kind: str) -> None:
    """Beside a running service, it reports the contents."""
    url = await new_place(kind)
    async with opened(url) as store:
        await fill(store)
        found = await check(locations.locate_database(url))
        position = await store.events.read_position()

    assert (found.epoch, found.head, found.first) == (*position, 1)
    assert (found.users, found.events, found.revision) == (2, position.seq, schema.REVISION)
    assert found.size > 50_000
    assert found.faults == ()


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM events WHERE seq = 3", "the log should hold every event from 1 to 5, and holds 4 of 1 to 5"),
        ("DELETE FROM events WHERE seq = 1", "the log should hold every event from 1 to 5, and holds 4 of 2 to 5"),
        ("UPDATE log SET seq = 6", "the log should hold every event from 1 to 6, and holds 5 of 1 to 5"),
        ("UPDATE users SET version = 7", "a user has version 7, and the log ends at 5"),
        ("DELETE FROM log", "the log has no row that counts it"),
    ],
)
async def test_what_must_not_be_is_found(new_place: NewPlace, kind: str, statement: str, fault: str) -> None:
    """Holes in the log, and users from its future."""
    url = await filled(new_place, kind)
    await _run(url, statement)

    assert (await check(locations.locate_database(url))).faults[0] == fault


async def test_damage_is_found(new_place: NewPlace) -> None:
    """An index that says something else than its table, and rows that refer to nothing."""
    url = await filled(new_place, "sqlite")
    await _run(url, "DELETE FROM users")
    assert (await check(locations.locate_database(url))).faults == ("4 rows name others that are not there",)

    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_events_subject_seq'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:  # noqa: ASYNC230  # a few bytes
        file.seek(root * 4096 - 8)
        file.write(bytes(8))
    assert any(
        fault.startswith("the file is damaged: ") for fault in (await check(locations.locate_database(url))).faults
    )


@pytest.mark.parametrize("kind", LASTING)
async def test_place_without_tables_is_said_so(new_place: NewPlace, kind: str) -> None:
    """It is not made by looking."""
    with pytest.raises(Unavailable, match=r"There is no file|holds no tables of Roster"):
        await check(locations.locate_database(await new_place(kind, empty=True)))
