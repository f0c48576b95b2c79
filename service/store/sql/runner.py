"""The ports through which groups of statements reach a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from service.domain.ports import Snapshot
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.row_mapper import Row

T = TypeVar("T")


class StatementRunner(Protocol):
    """One connection: runs one statement after the other."""

    @property
    def dialect(self) -> Dialect: ...

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement and return what it finds."""

    async def run(self, statement: Statement, **given: Any) -> None:
        """Run a statement that finds nothing."""

    async def run_many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        """Run it with each of these values."""

    @property
    def looks_first(self) -> bool:
        """Whether it costs little to look for a name before it is taken; else it is tried, and looked for afterwards."""

    def taken_field(self, error: Exception) -> str | None:
        """Which field of a user another row has already, where that is the error."""


class SqlDatabase(Protocol):
    """A store without its groups: runs reads on any connection, and small writes of their own."""

    @property
    def dialect(self) -> Dialect: ...

    def now(self) -> datetime: ...

    async def find(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement that changes nothing."""

    async def search(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """The same for one that may walk through a whole table."""

    def stream(self, statement: Statement) -> AbstractAsyncContextManager[Snapshot[AsyncIterator[Sequence[Row]]]]:
        """Run a statement without values, and read its rows in pages, as they are at one position of the log.

        Raises `Unavailable`, also for each page. Leaving the block releases the snapshot; cancelling is safe.
        """

    async def execute(self, work: Callable[[StatementRunner], Awaitable[T]]) -> T:
        """Run `work` in a transaction, as a write that appends no events and leaves no audit entry."""
