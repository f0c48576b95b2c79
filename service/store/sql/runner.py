"""The port through which groups of statements reach a database connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.store.sql import rows
from service.store.sql.dialects import Dialect, Statement


class StatementRunner(Protocol):
    """Runs one statement after the other."""

    @property
    def dialect(self) -> Dialect: ...

    async def rows(self, statement: Statement, **given: Any) -> Sequence[rows.Row]:
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
