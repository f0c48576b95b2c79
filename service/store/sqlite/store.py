"""The store in a SQLite file: one process, no server."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from service.domain.audit import KEEP_AUDIT_S
from service.domain.errors import StorageFull, Unavailable
from service.domain.events.position import Position
from service.domain.ports import Clock, Snapshot
from service.store.identity import RUN, begin_run
from service.store.run_sync import run_sync
from service.store.sql import schema
from service.store.sql.batch import Work
from service.store.sql.dialects import SQLITE, Statement
from service.store.sql.log_statements import POSITION
from service.store.sql.results import WriteSuccess
from service.store.sql.row_mapper import Row
from service.store.sql.store import SqlStore
from service.store.sqlite.connection import SqliteConnection
from service.store.sqlite.file_lock import acquire_file_lock
from service.store.sqlite.run_record import RunRecord, read_record, write_record
from service.store.sqlite.writer import SqliteWriter

_PAGE: Final = 100
_RECORD_EVERY_S: Final = 1.0


class SqliteStore(SqlStore):
    """Keeps the promises of `Store` in a file.

    Short reads run on the loop: they take less than handing them to a thread. Writes belong to one thread; readers never
    wait for it (WAL).

    Args:
        keep_s: events younger than this are kept however many there are; 0 for by count alone.
        keep_audit_s: entries of the audit are kept as long.
        full: whether a commit waits for the disk.
        wait_s: how long to wait for another process to leave the file.
        may_migrate: whether tables of another revision are brought to that of this code.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        keep_events: int = 100_000,
        keep_s: float = 0,
        keep_audit_s: float = KEEP_AUDIT_S,
        full: bool = True,
        wait_s: float = 30,
        may_migrate: bool = True,
    ) -> None:
        super().__init__(SQLITE, clock, keep_events, keep_s, keep_audit_s)
        self._path = path
        self._full = full
        self._wait_s = wait_s
        self._may_migrate = may_migrate
        self._owner: int | None = None
        self._head_write: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the file, waiting for its present owner to leave.

        Raises `Unavailable`, with a sentence for the operator, when that does not, the file cannot be used, or the tables
        are not those of this code.
        """
        try:
            with ExitStack() as opened:
                owner = await acquire_file_lock(self._path, self._wait_s)
                opened.callback(os.close, owner)
                # Only the owner may read password hashes; SQLite gives the files beside it the same mode.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._write_connection = SqliteConnection(self._path, writes=True, full=self._full)
                opened.callback(self._write_connection.close)
                await self._ensure_tables()
                self._record = self._begin_run(owner)
                self._reader = SqliteConnection(self._path, writes=False)
                opened.pop_all()
        except (OSError, sqlite3.Error, Unavailable) as error:
            why = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
            if isinstance(why, Unavailable):
                raise
            raise Unavailable(1, f"{self._path} cannot be used: {getattr(why, 'strerror', why)}.") from error
        self._writer = SqliteWriter(self._write_connection, self._retention, self._notify)
        self._owner = owner
        self._recording = asyncio.create_task(self._keep_head(), name="record the head beside SQLite")

    def _begin_run(self, owner: int) -> RunRecord:
        """Give this run an id, in the file and beside it, and start a new epoch where the file is not the one of the last run.

        Killed in the middle, the file fits what stands beside it all the same.
        """
        connection, before, run = self._write_connection, read_record(owner), uuid4().hex
        # The id that the file has and the one that it gets, no others: starts that are killed one after another must not
        # push out the id of the file.
        kept = [one for (one,) in connection.find(RUN) if one in before.runs]
        write_record(owner, RunRecord((*kept, run), before.head), to_disk=self._full)
        try:
            connection.begin()
            run_sync(begin_run(connection, run, before.is_known))
            connection.commit()
        except (StorageFull, Unavailable):
            connection.roll_back()
            ((_, head, _),), found = connection.find(POSITION), connection.find(RUN)
            if not found or not before.is_known(found[0][0], head):
                raise
            run = found[0][0]  # no room for another one: reads go on
        except BaseException:
            connection.roll_back()
            raise
        ((_, head, _),) = connection.find(POSITION)
        record = RunRecord((run,), head)
        write_record(owner, record, to_disk=self._full)
        return record

    async def _keep_head(self) -> None:
        """Write the head beside the file every second in which it has changed, until cancelled."""
        while True:
            await asyncio.sleep(_RECORD_EVERY_S)
            if self._owner is not None and self._has_new_head():
                writing = asyncio.to_thread(write_record, self._owner, self._record)
                self._head_write = asyncio.create_task(writing, name="write the head")
                await asyncio.shield(self._head_write)

    def _has_new_head(self) -> bool:
        last = self._writer.last
        if last is None or last.seq == self._record.head:
            return False
        self._record = replace(self._record, head=last.seq)
        return True

    async def _ensure_tables(self) -> None:
        found = self._write_connection.revision()
        if found != schema.REVISION:
            schema.refuse(found, may_migrate=self._may_migrate)
            from service.store.sql import migrate

            await asyncio.to_thread(migrate.in_sqlite, self._path, migrate.upgrade)

    async def close(self) -> None:
        if self._owner is None:
            return
        self._recording.cancel()
        await asyncio.wait((self._recording, *([self._head_write] if self._head_write else ())))
        await self._writer.close()
        if self._has_new_head():
            write_record(self._owner, self._record, to_disk=self._full)
        self._reader.close()
        self._write_connection.close()
        os.close(self._owner)
        self._owner = None

    async def is_healthy(self) -> bool:
        try:
            self._reader.find(POSITION)
        except Unavailable:
            return False
        return True

    async def find(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return self._reader.find(statement, **given)

    async def search(self, statement: Statement, **given: Any) -> Sequence[Row]:
        return await asyncio.to_thread(self._find_apart, statement, given)  # too long for the loop

    def _find_apart(self, statement: Statement, given: Mapping[str, Any]) -> list[Row]:
        connection = SqliteConnection(self._path, writes=False)
        try:
            return connection.find(statement, **given)
        finally:
            connection.close()

    @asynccontextmanager
    async def stream(self, statement: Statement) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[Row]]]]:
        # A connection of its own holds the state that its first read saw. A page is a short read.
        connection = SqliteConnection(self._path, writes=False)
        try:
            connection.raw.execute("BEGIN")
            ((epoch, seq, _),) = connection.find(POSITION)
            cursor = connection.raw.execute(statement.compiled(SQLITE).text)

            async def pages() -> AsyncIterator[Sequence[Row]]:
                while found := cursor.fetchmany(_PAGE):
                    yield found

            yield Snapshot(pages(), Position(epoch, seq))
        finally:
            connection.close()

    async def _run(self, work: Work) -> tuple[WriteSuccess, Position]:
        return await self._writer.write(work)
