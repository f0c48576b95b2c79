"""Which stores keep the contract of `Store`."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from service.domain.ports import Store
from service.store.memory import MemoryStore
from service.store.sql.postgres import PostgresStore
from service.store.sql.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.stores import Opener


@asynccontextmanager
async def memory(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
    store = MemoryStore(clock, keep_events=keep_events)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def sqlite(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "roster.db", clock, keep_events=keep_events)
        await store.open()
        try:
            yield store
        finally:
            await store.close()


def in_postgres(url: str) -> Opener:
    """Each store in a schema of its own, which takes a tenth of the time of a database."""

    @asynccontextmanager
    async def postgres(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
        schema = f"store{next(_schemas)}"
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE SCHEMA {schema}")
        store = PostgresStore(url, clock, keep_events=keep_events, schema_name=schema)
        await store.open()
        try:
            yield store
        finally:
            await store.close()
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
            await connection.close()

    return postgres


STORES: Mapping[str, Opener] = {"memory": memory, "sqlite": sqlite}

_schemas = itertools.count(1)


# Of the session, because a test that draws examples opens a store for each of them.
@pytest.fixture(params=[*STORES, "postgres"], scope="session")
def opener(request: pytest.FixtureRequest) -> Opener:
    if request.param == "postgres":
        return in_postgres(request.getfixturevalue("postgres_url"))
    return STORES[request.param]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(opener: Opener, clock: ManualClock) -> AsyncIterator[Store]:
    async with opener(clock) as store:
        yield store
