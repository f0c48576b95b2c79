"""Maintenance of a PostgreSQL database."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import Table, select

from service.domain.errors import Unavailable
from service.store.maintenance import copying, values
from service.store.maintenance.database import CHUNK, TableReader, TableWriter
from service.store.maintenance.sqlite import SqliteDatabase
from service.store.postgres.connection import LOST, PostgresConnection
from service.store.postgres.lease import Lease, find_running
from service.store.postgres.server import connect
from service.store.sql import migrate
from service.store.sql.dialects import POSTGRES, Statement
from service.store.sql.row_mapper import Row
from service.store.sql.tables import metadata

_SECRET: Final = re.compile(r"(?<=//)[^/]*@|(?<=password=)[^&]*")
_CONNECT_S: Final = 5.0
_OWN_WAIT_S: Final = 1.0
# What is done here may take long; what it waits for, others who have a table, may not.
_SETTINGS: Final = {"timezone": "UTC", "application_name": "roster db", "lock_timeout": "60s"}


class PostgresDatabase:
    dialect = POSTGRES
    files = ()
    is_shared = True

    def __init__(self, url: str) -> None:
        self.name = _SECRET.sub("", url)
        self._url = url

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        async with self._connected() as connection:
            await Lease().take(connection, _OWN_WAIT_S)
            # Processes that share the database do not hold the lock.
            if (running := await find_running(connection)) is not None:
                raise Unavailable(1, f"{self.name} is used by {running}. Stop all processes of the service first.")
            yield

    @asynccontextmanager
    async def open_reader(self) -> AsyncIterator[TableReader]:
        async with self._connected() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield _Reader(connection)

    @asynccontextmanager
    async def open_exclusive_writer(self) -> AsyncIterator[TableWriter]:
        async with self._connected() as connection, connection.transaction():
            yield _Writer(connection)

    open_writer = open_exclusive_writer  # its transactions bear others beside them

    async def migrate(self, step: migrate.Step) -> None:
        with _translate_errors(self.name):
            await migrate.in_postgres(self._connect, step)

    async def back_up(self, file: Path) -> None:
        copy = SqliteDatabase(file)
        async with self.open_reader() as source:
            await copying.require_current_tables(source, self.name)
            await copy.migrate(migrate.upgrade)
            async with copy.open_exclusive_writer() as target:
                await copying.copy_rows(source, target)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        with _translate_errors(self.name):
            connection = await self._connect()
            try:
                yield connection
            finally:
                connection.terminate()

    async def _connect(self) -> asyncpg.Connection[Any]:
        return await connect(self._url, _SETTINGS, _CONNECT_S)


class _Reader:
    def __init__(self, raw: asyncpg.Connection[Any]) -> None:
        self._raw = raw
        self._connection = PostgresConnection(raw)

    async def revision(self) -> str | None:
        return await self._connection.revision()

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return await self._connection.rows(statement, **given)

    async def walk(self, table: Table) -> AsyncGenerator[Sequence[Row], None]:
        convert = values.from_sql(table, POSTGRES)
        cursor = await self._raw.cursor(str(select(table).compile(dialect=POSTGRES.sql)))
        while found := await cursor.fetch(CHUNK):
            yield convert(found)

    async def damage(self) -> Sequence[str]:
        return ()  # that is for the server to find

    async def size(self) -> int:
        names = list(metadata.tables)
        return int(
            await self._raw.fetchval(
                "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest($1::text[]) name", names
            )
        )


class _Writer:
    def __init__(self, raw: asyncpg.Connection[Any]) -> None:
        self._raw = raw
        self._connection = PostgresConnection(raw)

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return await self._connection.rows(statement, **given)

    async def clear(self, tables: Sequence[Table]) -> None:
        await self._raw.execute(f"TRUNCATE {', '.join(table.name for table in tables)}")

    async def put(self, table: Table, found: Sequence[Row]) -> None:
        columns = [column.name for column in table.columns]
        rows = values.to_sql(table, POSTGRES)(found)
        await self._raw.copy_records_to_table(table.name, columns=columns, records=rows)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Tell what the server cannot do, or that it is not there."""
    try:
        yield
    except (*LOST, asyncpg.PostgresError) as error:
        raise Unavailable(1, f"{name} cannot be used: {error}") from None
    except (ValueError, OverflowError):  # whose sentences repeat what may be a password
        raise Unavailable(1, "The URL of the database cannot be read.") from None
