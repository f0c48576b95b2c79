"""The requirements on a PostgreSQL server or pooler: a start without them is refused, with a sentence."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import func, select

from service.domain.errors import Unavailable
from service.domain.events.position import Position
from service.domain.ports import Store
from service.http.services import SERVICES
from service.store.maintenance.locations import locate_database
from service.store.postgres.store import PostgresStore
from service.store.sql.dialects import Statement
from tests.support.clock import ManualClock
from tests.support.domain import a_user, keep
from tests.support.pgbouncer import run_pgbouncer
from tests.support.ports import free_port
from tests.support.postgres import create_database
from tests.support.server import serve
from tests.support.wait import until

_SETTINGS = Statement(lambda _: select(func.current_setting("statement_timeout")))
_numbers = itertools.count()


@pytest.fixture
def database(postgres_url: str) -> str:
    """A database of its own, without tables."""
    return create_database(postgres_url, f"server_{postgres_url.rpartition('/')[2]}_{next(_numbers)}")


@asynccontextmanager
async def control(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_database_that_is_not_utf8_is_refused(postgres_url: str, encoding: str) -> None:
    """The start says which encoding the database has and which one it needs, instead of a 500 for a name it cannot hold."""
    name = f"not_utf8_{encoding.lower()}_{postgres_url.rpartition('/')[2]}"
    async with control(postgres_url) as connection:
        await connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    url = f"{postgres_url.rpartition('/')[0]}/{name}"
    with pytest.raises(Unavailable, match=f"encoding {encoding}.*needs UTF8"):
        await PostgresStore(url, ManualClock()).open()


@pytest.mark.proxy("pgbouncer")
async def test_pgbouncer_in_session_mode_serves_with_its_defaults(database: str) -> None:
    """Without `ignore_startup_parameters` the store reads, writes, maintains its tables, and leaves no lock."""
    async with run_pgbouncer(database, "session") as url:
        store = PostgresStore(url, ManualClock())
        await store.open()
        try:
            ada = a_user()
            await keep(store, ada)
            assert (await store.users.find(ada.id)).value is not None
            assert await store.is_healthy()
            row = await store.find(_SETTINGS)
            assert row[0][0] == "1400ms"
            async with store.users.stream_all() as users:
                assert [len(page) async for page in users.value] == [1]
        finally:
            await store.close()
        async with locate_database(url).lock():
            pass  # the lock is free
        async with locate_database(url).open_reader() as reader:
            assert await reader.revision() is not None


@pytest.mark.proxy("pgbouncer")
async def test_pgbouncer_in_transaction_mode_is_refused(database: str) -> None:
    """A pooler that gives each transaction another session is named at the start, not by failing requests."""
    async with run_pgbouncer(database, "transaction") as url:
        with pytest.raises(Unavailable, match="pool_mode=session"):
            await PostgresStore(url, ManualClock()).open()


@pytest.mark.proxy("pgbouncer")
async def test_pooler_that_refuses_a_parameter_is_not_waited_for(database: str) -> None:
    """A parameter of the URL that PgBouncer does not take ends the start at once, with its name."""
    async with run_pgbouncer(database, "session") as url, asyncio.timeout(5):
        with pytest.raises(Unavailable, match="statement_timeout"):
            await PostgresStore(f"{url}?statement_timeout=5", ManualClock()).open()


async def test_server_that_becomes_read_only_makes_the_service_unready(database: str) -> None:
    """While PostgreSQL takes no writes, `/health/ready` is 503; it is 200 again when PostgreSQL takes them."""
    name = database.rpartition("/")[2]
    async with control(database) as connection, serve(store_url=database) as server:
        await server.json("GET", "/health/ready")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'roster%' AND datname = $1"
        await connection.execute("SET default_transaction_read_only = off")
        await connection.fetch(sessions, name)

        async def is_ready(status: int) -> bool:
            async with server.request("GET", "/health/ready") as answer:
                return answer.status == status

        # Reads are answered, so it is for want of writes that the service is not ready.
        await until(lambda: is_ready(503), timeout=10)
        store = server.app[SERVICES].store
        await until(lambda: has_position(store), timeout=10)
        await asyncio.sleep(0)
        await until(lambda: is_refused(store), timeout=10)
        assert await is_ready(503)
        # The sessions of now keep the default with which they began: the service has to replace them by itself.
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await until(lambda: is_written(store), timeout=5)
        await until(lambda: is_ready(200), timeout=10)


async def is_refused(store: Store) -> bool:
    """Whether a write is refused by a session that takes none."""
    try:
        await keep(store, a_user())
    except Unavailable as error:
        return isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError)
    return False


async def is_written(store: Store) -> bool:
    try:
        await keep(store, a_user())
    except Unavailable:
        return False
    return True


async def has_position(store: Store) -> bool:
    try:
        return isinstance(await store.events.read_position(), Position)
    except Unavailable:
        return False


async def test_no_connection_to_be_had_is_one_line(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Requests that find no connection are 503 and have one error line together, with the reason."""
    store = PostgresStore(database, ManualClock())
    await store.open()
    name = database.rpartition("/")[2]
    async with control(database.rpartition("/")[0] + "/postgres") as connection:
        try:
            await connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            for _ in range(4):
                store._pool.terminate()
                store._pool = await asyncpg.create_pool(database, min_size=0, max_size=1, timeout=1)
                with pytest.raises(Unavailable):
                    await store.users.find(a_user().id)
            lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
            assert len(lines) == 1
            assert lines[0].startswith("no connection to PostgreSQL; requests return 503: ")
            assert "not currently accepting connections" in lines[0]
        finally:
            await connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            await store.close()


async def test_wait_for_postgres_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A start that waits for a server names its host, its port and how long it waits."""
    port = free_port()
    store = PostgresStore(f"postgresql://roster:secret@127.0.0.1:{port}/postgres", ManualClock(), wait_s=30)
    opening = asyncio.create_task(store.open())
    await until(lambda: "waiting for PostgreSQL" in caplog.text)
    opening.cancel()
    await asyncio.wait([opening])
    (record,) = [record for record in caplog.records if record.getMessage() == "waiting for PostgreSQL"]
    assert (record.__dict__["host"], record.__dict__["port"]) == ("127.0.0.1", port)
    assert "secret" not in str(record.__dict__)
