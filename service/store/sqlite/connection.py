"""One connection to a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from service.store.sql.dialects import SQLITE, Statement
from service.store.sql.row_mapper import Row
from service.store.sqlite.faults import OpenFile, refusal_of

# How long to wait for another process that has opened the file, such as a shell. Readers never wait for a writer (WAL), but
# for a file that is being recovered or is locked as a whole; and while they wait, the event loop waits.
_BUSY_MS: Final = {True: 1_500, False: 50}

# What the WAL keeps of its size once it has been checkpointed: twice what it has when no reader holds an old state.
WAL_LIMIT_BYTES: Final = 8 << 20


class SqliteConnection:
    """Runs statements at once: nothing here waits, so a coroutine that only waits for it runs through in one step.

    Used by one thread at a time.

    Args:
        writes: whether it may change anything.
        full: whether a commit waits until the disk has it (`synchronous=FULL`), or only until the system has.
    """

    dialect = SQLITE

    def __init__(self, path: Path, *, writes: bool, full: bool = True) -> None:
        self._path = path
        with self._faults():
            # No implicit transactions: what begins and what commits stands in our own code.
            self.raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        with self._faults():
            run = self.raw.execute
            run(f"PRAGMA busy_timeout = {_BUSY_MS[writes]}")
            run("PRAGMA foreign_keys = ON")
            if writes:
                run("PRAGMA journal_mode = WAL")
                run(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
                run(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            else:
                run("PRAGMA query_only = ON")
        self._file = OpenFile(path)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise what goes wrong around the file as `Unavailable`."""
        try:
            yield
        except sqlite3.Error as error:
            raise refusal_of(error, self._path) from error

    def revision(self) -> str | None:
        """Of which revision the tables are; None where there are none."""
        if not self.raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        found: Row | None = self.raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if found is None else found[0]

    def find(self, statement: Statement, **given: Any) -> list[Row]:
        self._file.check()
        compiled = statement.compiled(SQLITE)
        try:
            return self.raw.execute(compiled.text, SQLITE.values(compiled, given)).fetchall()
        except sqlite3.Error as error:
            raise refusal_of(error, self._path) from error

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return self.find(statement, **given)

    async def run(self, statement: Statement, **given: Any) -> None:
        self.find(statement, **given)

    async def run_many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        compiled = statement.compiled(SQLITE)
        with self._faults():
            self.raw.executemany(compiled.text, [SQLITE.values(compiled, one) for one in given])

    looks_first = True

    def taken_field(self, error: Exception) -> str | None:
        return None  # the name was looked up before, and there is no other writer

    def begin(self) -> None:
        with self._faults():
            self.raw.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        with self._faults():
            self.raw.execute("COMMIT")

    def roll_back(self) -> None:
        """Harmless where SQLite has done so by itself, as it does when the disk is full."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    async def savepoint(self) -> None:
        self.raw.execute("SAVEPOINT work")

    async def release(self) -> None:
        self.raw.execute("RELEASE work")

    async def undo(self) -> None:
        self.raw.execute("ROLLBACK TO work")
        self.raw.execute("RELEASE work")

    async def bound_waits(self) -> None:
        """Does nothing: there is no other writer."""

    @property
    def changes(self) -> int:
        return self.raw.total_changes

    @property
    def is_undone(self) -> bool:
        return not self.raw.in_transaction

    def is_write_conflict(self, error: Exception) -> bool:
        return False  # there is no other writer

    def is_lock_timeout(self, error: Exception) -> bool:
        return False

    def close(self) -> None:
        self.raw.close()
