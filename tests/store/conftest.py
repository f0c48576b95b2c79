"""Which stores keep the contract of `Store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from service.domain.ports import Store
from service.store.memory import MemoryStore
from service.store.sql.postgres import PostgresStore
from service.store.sql.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.places import NewPlace
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


def in_postgres(new_place: NewPlace) -> Opener:
    @asynccontextmanager
    async def postgres(clock: ManualClock, *, keep_events: int = 100_000) -> AsyncIterator[Store]:
        store = PostgresStore(await new_place("postgres"), clock, keep_events=keep_events)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    return postgres


STORES: Mapping[str, Opener] = {"memory": memory, "sqlite": sqlite}


# Of the session, because a test that draws examples opens a store for each of them.
@pytest.fixture(params=[*STORES, "postgres"], scope="session")
def opener(request: pytest.FixtureRequest, new_place: NewPlace) -> Opener:
    return in_postgres(new_place) if request.param == "postgres" else STORES[request.param]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(opener: Opener, clock: ManualClock) -> AsyncIterator[Store]:
    async with opener(clock) as store:
        yield store
