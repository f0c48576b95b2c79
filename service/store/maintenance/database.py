"""The database of a store, for maintenance: beside a running service, or without one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Table

from service.store.sql.dialects import Dialect, Statement
from service.store.sql.migrate import Step
from service.store.sql.row_mapper import Row

CHUNK: Final = 1_000  # rows that are in memory at once


class TableReader(Protocol):
    """One state of a database, whatever others write meanwhile."""

    async def revision(self) -> str | None:
        """The revision of the tables; None without tables."""

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement and return what it finds."""

    def walk(self, table: Table) -> AsyncGenerator[Sequence[Row], None]:
        """All rows, at most `CHUNK` at a time, with UUIDs, datetimes and booleans as Python has them."""

    async def damage(self) -> Sequence[str]:
        """The faults that the database itself finds, as sentences."""

    async def size(self) -> int:
        """The size of the data on disk, in bytes."""


class TableWriter(Protocol):
    """One transaction; it commits when its block ends well."""

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement and return what it finds."""

    async def clear(self, tables: Sequence[Table]) -> None:
        """Delete every row of these tables."""

    async def put(self, table: Table, found: Sequence[Row]) -> None:
        """Insert rows, in the form that `TableReader.walk` returns."""


class Database(Protocol):
    """A database that maintenance works on. Every method raises `Unavailable`, with a message for the operator."""

    @property
    def name(self) -> str:
        """Its name in messages, without a password."""

    @property
    def files(self) -> Sequence[Path]:
        """Its files, whether they exist or not, the database first; empty for a server."""

    @property
    def dialect(self) -> Dialect:
        """The dialect that reads the rows which `rows` returns."""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may serve from it at once."""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock of the process that owns the database. Raises `Unavailable` while another process holds it."""

    def open_reader(self) -> AbstractAsyncContextManager[TableReader]:
        """Read one state. A service may be running."""

    def open_writer(self) -> AbstractAsyncContextManager[TableWriter]:
        """Change a few rows in one transaction. A service may be running."""

    def open_exclusive_writer(self) -> AbstractAsyncContextManager[TableWriter]:
        """Replace rows in one transaction, inside of `lock`."""

    async def migrate(self, step: Step) -> None:
        """Run a migration in one transaction."""

    async def back_up(self, file: Path) -> None:
        """Write the present state to a SQLite file, which must exist and be empty. A service may be running."""
