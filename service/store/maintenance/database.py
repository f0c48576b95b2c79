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
        """Of which revision the tables are; None where there are none."""

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement and return what it finds."""

    def walk(self, table: Table) -> AsyncGenerator[Sequence[Row], None]:
        """All rows, some at a time, with ids, moments and truths as Python has them."""

    async def damage(self) -> Sequence[str]:
        """The faults that the database itself finds, as sentences."""

    async def size(self) -> int:
        """The size of the data on disk, in bytes."""


class TableWriter(Protocol):
    """One transaction; it commits when its block ends well."""

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement and return what it finds."""

    async def clear(self, tables: Sequence[Table]) -> None:
        """Forget every row of them."""

    async def put(self, table: Table, found: Sequence[Row]) -> None:
        """Keep rows, as `Reader.walk` gives them."""


class Database(Protocol):
    """Whatever it cannot do it tells by `Unavailable`, with a sentence for the person at the command line."""

    @property
    def name(self) -> str:
        """As sentences call it; without a password."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that it stands in, whether they exist or not, the database first; none where a server has them."""

    @property
    def dialect(self) -> Dialect:
        """How what `rows` finds is read."""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may serve from it at once."""

    def owned(self) -> AbstractAsyncContextManager[None]:
        """Have it while no service does. Raises `Unavailable` when one does."""

    def reading(self) -> AbstractAsyncContextManager[TableReader]:
        """Look at it. A service may be running on it."""

    def changing(self) -> AbstractAsyncContextManager[TableWriter]:
        """Change some rows that a service, which may be running on it, bears to have changed."""

    def writing(self) -> AbstractAsyncContextManager[TableWriter]:
        """Have the database for itself and change its rows; inside of `owned`."""

    async def migrate(self, step: Step) -> None:
        """Change its tables in one transaction."""

    async def back_up(self, file: Path) -> None:
        """Write the state of now into a SQLite file that is there and empty. A service may be running on it."""
