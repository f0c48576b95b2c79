"""The special properties of SQLite: the file, its owner, its writer."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.domain.errors import Unavailable, VersionMismatch
from service.domain.events.event import Event
from service.domain.events.query import EventQuery
from service.domain.ports import Transaction
from service.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep, updated
from tests.support.stores import whole_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "roster.db"


@asynccontextmanager
async def opened(path: Path, **kwargs: Any) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, kwargs.pop("clock", None) or ManualClock(), **kwargs)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_data_outlives_the_process(path: Path) -> None:
    """Users, the log with its epoch, and secrets are there again."""
    ada = a_user()
    async with opened(path) as store:
        await keep(store, ada)
        before = (
            await store.users.find(ada.id),
            await store.events.read_position(),
            await store.secrets.get_or_create("tokens"),
            await whole_log(store),
        )
    async with opened(path) as store:
        after = (
            await store.users.find(ada.id),
            await store.events.read_position(),
            await store.secrets.get_or_create("tokens"),
            await whole_log(store),
        )

    assert after == before


async def test_file_is_its_owners_alone(path: Path) -> None:
    """It holds password hashes: only its owner may read it, and the files that SQLite creates beside it."""
    async with opened(path) as store:
        await keep(store, a_user())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(("roster.db", "roster.db-wal", "roster.db-shm", "roster.db.owner"), 0o600)


async def test_events_just_written_are_answered_from_memory(path: Path) -> None:
    """A page holds the very events of the write while nothing changed them; a redacted event is read from the file."""
    ada = a_user()
    async with opened(path) as store:
        written = await store.write(lambda transaction: transaction.events.append(updated(ada, "name")), BY)
        (found,) = await whole_log(store)
        assert found is written.events[0]

        gone = Event("user.deleted", ada.created_at, None, ada.id)
        await store.write(lambda transaction: transaction.events.append(gone), BY)
        redacted, _ = await whole_log(store)
        assert redacted.user is None


async def test_second_opener_waits_for_the_first_to_leave(path: Path) -> None:
    """As the worker does that a reload starts beside the old one."""
    first = SqliteStore(path, ManualClock())
    await first.open()
    second = SqliteStore(path, ManualClock())
    opening = asyncio.create_task(second.open())
    await asyncio.sleep(0.1)  # who did not wait would have it by now
    assert not opening.done()

    await keep(first, ada := a_user())
    await first.close()
    await opening
    assert (await second.users.find(ada.id)).value is not None
    await second.close()


async def test_second_opener_gives_up_with_a_sentence(path: Path) -> None:
    """Which names the file."""
    async with opened(path):
        with pytest.raises(Unavailable, match=rf"roster\.db belongs to process {os.getpid()} on .*, since "):
            await SqliteStore(path, ManualClock(), wait_s=0.1).open()


async def test_writes_that_wait_share_a_transaction(path: Path) -> None:
    """Each is whole or nothing by itself, and all of them have their place in one order."""
    async with opened(path) as store:
        commits = _count_commits(store)

        async def fails(transaction: Transaction) -> None:
            await transaction.users.save(a_user())
            raise LookupError("one of them")

        users = [a_user() for _ in range(50)]
        outcomes = await asyncio.gather(
            *(keep(store, user) for user in users), store.write(fails, BY), return_exceptions=True
        )

        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [LookupError]
        assert [event.seq for event in await whole_log(store)] == list(range(1, 51))
        assert commits() <= 5


async def test_write_sees_the_version_of_the_one_before_it(path: Path) -> None:
    """Of two changes at once that name the same version, one is stale, also where both came in the same transaction."""
    async with opened(path) as store:
        await keep(store, ada := a_user())

        async def rename(name: str) -> int:
            async def work(transaction: Transaction) -> None:
                user = await transaction.users.find(ada.id)
                assert user is not None
                if user.version != 1:
                    raise VersionMismatch()
                await transaction.users.save(renamed := replace(user, name=name))
                await transaction.events.append(updated(renamed, "name"))

            return (await store.write(work, BY)).events[0].seq

        outcomes = await asyncio.gather(*(rename(f"Ada {n}") for n in range(10)), return_exceptions=True)

        assert outcomes[0] == 2
        assert all(isinstance(outcome, VersionMismatch) for outcome in outcomes[1:])


async def test_log_is_kept_by_age_or_count(path: Path) -> None:
    """Young events are kept however many there are; old ones while they are among the newest."""
    clock = ManualClock()
    async with opened(path, clock=clock, keep_events=5, keep_s=60) as store:

        async def write(count: int) -> tuple[int, int]:
            for _ in range(count):
                user = a_user()

                async def work(transaction: Transaction, subject: Any = user.id) -> None:
                    await transaction.events.append(Event("session.ended", clock(), None, subject))

                await store.write(work, BY)
            page = await store.events.list_page(EventQuery(0, 1))
            return page.first, page.position.seq

        assert await write(10) == (1, 10)
        clock.now += timedelta(seconds=30)
        assert await write(4) == (1, 14)
        clock.now += timedelta(seconds=31)
        assert await write(1) == (11, 15)
        clock.now += timedelta(seconds=100)
        assert await write(1) == (12, 16)


async def test_broken_write_leaves_the_file_whole(path: Path) -> None:
    """A statement that SQLite refuses ends its own write, not those beside it."""
    async with opened(path) as store:

        async def nonsense(transaction: Transaction) -> None:
            await transaction.users.save(replace(a_user(), age=1000))

        good = a_user()
        outcomes = await asyncio.gather(store.write(nonsense, BY), keep(store, good), return_exceptions=True)

        assert isinstance(outcomes[0], sqlite3.IntegrityError)
        assert (await store.users.find(good.id)).value is not None
        assert store._reader.raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _count_commits(store: SqliteStore) -> Any:
    """How many transactions were committed since, by what readers can tell."""
    count = 0

    def tell(_: object) -> None:
        nonlocal count
        count += 1

    store.add_commit_listener(tell)
    return lambda: count
