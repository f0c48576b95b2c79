"""Maintenance of a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, delete, insert, select

from service.domain.errors import Unavailable
from service.store.maintenance import values
from service.store.maintenance.database import CHUNK, TableReader, TableWriter
from service.store.maintenance.targets import list_files
from service.store.sql import migrate
from service.store.sql.dialects import SQLITE, Statement
from service.store.sql.row_mapper import Row
from service.store.sqlite.connection import SqliteConnection
from service.store.sqlite.file_lock import acquire_file_lock, refuse_hard_links

_OWN_WAIT_S: Final = 1.0
_BUSY_S: Final = 5.0
_STEP_PAGES: Final = 1_024


class SqliteDatabase:
    dialect = SQLITE
    is_shared = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    @property
    def files(self) -> Sequence[Path]:
        return list_files(self._path)

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        with _translate_errors(self.name):
            owner = await acquire_file_lock(self._path, _OWN_WAIT_S)
        try:
            yield
        finally:
            os.close(owner)

    @asynccontextmanager
    async def open_reader(self) -> AsyncIterator[TableReader]:
        with _translate_errors(self.name):
            _must_be_there(self._path)
            connection = SqliteConnection(self._path, writes=False)
            with closing(connection.raw):
                connection.raw.execute("BEGIN")
                yield _Reader(connection, self.name)

    @asynccontextmanager
    async def open_writer(self) -> AsyncIterator[TableWriter]:
        with _translate_errors(self.name):
            _must_be_there(self._path)
            refuse_hard_links(self._path)
            with closing(_connect(self._path)) as raw:
                raw.execute("BEGIN IMMEDIATE")
                yield _Writer(raw)
                raw.execute("COMMIT")

    @asynccontextmanager
    async def open_exclusive_writer(self) -> AsyncIterator[TableWriter]:
        with _translate_errors(self.name), closing(_connect(self._path)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            yield _Writer(raw)
            if raw.execute("PRAGMA foreign_key_check").fetchone():
                raise Unavailable(1, f"{self.name}: rows would name others that are not there.")
            raw.execute("COMMIT")

    async def migrate(self, step: migrate.Step) -> None:
        with _translate_errors(self.name):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            migrate.in_sqlite(self._path, step)

    async def back_up(self, file: Path) -> None:
        with _translate_errors(self.name):
            _must_be_there(self._path)
            with closing(SqliteConnection(self._path, writes=False)) as source, closing(_connect(file)) as copy:
                # All pages in one step: otherwise each concurrent write would make SQLite start again, without end.
                source.raw.execute("BEGIN")
                if source.revision() is None:
                    raise Unavailable(1, f"{self.name} is not a database of Roster.")
                with _translate_errors(str(file)):  # which the disk may have no room for
                    source.raw.backup(copy, pages=_STEP_PAGES)  # in steps, between which signals are heard
                    if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                        copy.execute("DELETE FROM runs")  # put in the place of the store, it is another one
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file, and nothing beside it


class _Reader:
    def __init__(self, connection: SqliteConnection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def revision(self) -> str | None:
        return self._connection.revision()

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return self._connection.find(statement, **given)

    async def walk(self, table: Table) -> AsyncGenerator[Sequence[Row], None]:
        convert = values.from_sql(table, SQLITE)
        with _translate_errors(self._name), closing(self._connection.raw.cursor()) as cursor:
            cursor.execute(str(select(table).compile(dialect=SQLITE.sql)))
            while found := cursor.fetchmany(CHUNK):
                yield convert(found)

    async def damage(self) -> Sequence[str]:
        run = self._connection.raw.execute
        found = [f"the file is damaged: {text}" for (text,) in run("PRAGMA integrity_check") if text != "ok"]
        lost = run("PRAGMA foreign_key_check").fetchall()
        return [*found, f"{len(lost)} rows name others that are not there"] if lost else found

    async def size(self) -> int:
        ((pages, size),) = self._connection.raw.execute(
            "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size"
        )
        return int(pages * size)


class _Writer:
    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        compiled = statement.compiled(SQLITE)
        return self._raw.execute(compiled.text, SQLITE.values(compiled, given)).fetchall()

    async def clear(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self._raw.execute(str(delete(table).compile(dialect=SQLITE.sql)))

    async def put(self, table: Table, found: Sequence[Row]) -> None:
        self._raw.executemany(str(insert(table).compile(dialect=SQLITE.sql)), values.to_sql(table, SQLITE)(found))


def _must_be_there(path: Path) -> None:
    # SQLite would make it.
    if not path.is_file():
        raise Unavailable(1, f"There is no file {path}.")


def _connect(path: Path) -> sqlite3.Connection:
    # No transactions but our own, and no foreign keys: rows that are replaced may refer to nothing until all are there.
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Tell what SQLite, or the system, cannot do."""
    try:
        yield
    except (OSError, ValueError, sqlite3.Error) as error:  # an id that is none is a ValueError
        raise Unavailable(1, f"{name} cannot be used: {error}") from None
