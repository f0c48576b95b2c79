"""The one thread that writes to a SQLite file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.store.run_sync import run_sync
from service.store.sql.append import RetentionPolicy
from service.store.sql.batch import Work
from service.store.sql.group_commit import GroupCommit
from service.store.sql.results import WriteSuccess
from service.store.sqlite.connection import SqliteConnection


class SqliteWriter:
    """Runs writes in the order in which they come, as many in one transaction as wait.

    Args:
        retention: how much of the log is retained, asked at each commit.
        on_commit: called on the loop with the events of a commit, before the writers are answered.
    """

    def __init__(
        self,
        connection: SqliteConnection,
        retention: Callable[[], RetentionPolicy],
        on_commit: Callable[[Sequence[Event]], None],
    ) -> None:
        self._group = GroupCommit(SqliteDriver(connection), retention, on_commit)
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work) -> tuple[WriteSuccess, Position]:
        """Run the write; raises its error, `Unavailable` if too many writes wait, and every error of SQLite.

        Cancelling the caller does not stop the write: it commits whole, or not at all.
        """
        future = self._group.queue.put(work)
        self._wake.set()
        return await future

    @property
    def last(self) -> Position | None:
        """Position of the log after the last commit; None before the first."""
        return self._group.last

    async def close(self) -> None:
        """Run the writes that wait, then end. Safe to call twice."""
        self._group.queue.closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            run_sync(self._group.commit_waiting())
            if self._group.queue.closing:
                return


class SqliteDriver:
    """Implements `CommitDriver` on the one connection that writes; nothing here suspends."""

    savepoints = True

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def begin(self) -> SqliteConnection:
        self._connection.begin()
        return self._connection

    async def commit(self, connection: SqliteConnection) -> None:
        connection.commit()

    async def roll_back(self) -> None:
        self._connection.roll_back()

    def deliver(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)
