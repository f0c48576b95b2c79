"""Which stores keep the contract of `Store`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from service.domain.ports import Store
from service.store.memory.store import MemoryStore
from service.store.postgres.store import PostgresStore
from service.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.places import KINDS
from tests.support.stores import Opener
from tests.support.templates import PostgresTemplate, SqliteTemplate


@asynccontextmanager
async def memory(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
    store = MemoryStore(clock, keep_events=keep_events)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def in_sqlite(template: SqliteTemplate) -> Opener:
    @asynccontextmanager
    async def sqlite(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "roster.db"
            template.copy(path)
            store = SqliteStore(path, clock, keep_events=keep_events, full=False)
            await store.open()
            try:
                yield store
            finally:
                await store.close()

    return sqlite


def in_postgres(template: PostgresTemplate) -> Opener:
    @asynccontextmanager
    async def postgres(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
        place = await template.take()
        store = PostgresStore(place, clock, keep_events=keep_events)
        await store.open()
        try:
            yield store
        finally:
            await store.close()
            template.give_back(place)

    return postgres


# Of the session, because a test that draws examples opens a store for each of them.
@pytest.fixture(params=KINDS, scope="session")
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    if request.param == "postgres":
        return in_postgres(request.getfixturevalue("postgres_template"))
    if request.param == "sqlite":
        return in_sqlite(SqliteTemplate(tmp_path_factory.mktemp("template") / "roster.db"))
    return memory


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(opener: Opener, clock: ManualClock) -> AsyncIterator[Store]:
    async with opener(clock) as store:
        yield store
