"""One connection to a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.store.sql.dialects import SQLITE, Statement
from service.store.sql.rows import Row

_BUSY_MS = 5_000


class SqliteConnection:
    """Runs statements at once: nothing here waits, so a coroutine that only waits for it runs through in one step.

    Used by one thread at a time.

    Args:
        writes: whether it may change anything.
        full: whether a commit waits until the disk has it (`synchronous=FULL`), or only until the system has.
    """

    dialect = SQLITE

    def __init__(self, path: Path, *, writes: bool, full: bool = True) -> None:
        # No implicit transactions: what begins and what commits stands in our own code.
        self.raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        run = self.raw.execute
        run(f"PRAGMA busy_timeout = {_BUSY_MS}")
        run("PRAGMA foreign_keys = ON")
        if writes:
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        else:
            run("PRAGMA query_only = ON")

    def revision(self) -> str | None:
        """Of which revision the tables are; None where there are none."""
        if not self.raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        found: Row | None = self.raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if found is None else found[0]

    def find(self, statement: Statement, **given: Any) -> list[Row]:
        compiled = statement.compiled(SQLITE)
        return self.raw.execute(compiled.text, SQLITE.values(compiled, given)).fetchall()

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return self.find(statement, **given)

    async def run(self, statement: Statement, **given: Any) -> None:
        self.find(statement, **given)

    async def run_many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        compiled = statement.compiled(SQLITE)
        self.raw.executemany(compiled.text, [SQLITE.values(compiled, one) for one in given])

    looks_first = True

    def taken_field(self, error: Exception) -> str | None:
        return None  # it was looked for, and nobody else writes

    async def savepoint(self) -> None:
        self.raw.execute("SAVEPOINT work")

    async def release(self) -> None:
        self.raw.execute("RELEASE work")

    async def undo(self) -> None:
        self.raw.execute("ROLLBACK TO work")
        self.raw.execute("RELEASE work")

    def came_between(self, error: Exception) -> bool:
        return False  # nobody else writes

    def close(self) -> None:
        self.raw.close()
