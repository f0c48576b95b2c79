"""The one task that writes to PostgreSQL, many writes a transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.store.postgres.connection import PostgresConnection
from service.store.sql.append import RetentionPolicy
from service.store.sql.batch import Work
from service.store.sql.group_commit import GroupCommit
from service.store.sql.results import WriteSuccess

_CAREFUL_S: Final = 1.0  # so long after a failure each work has a savepoint: where one fails, others do

Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]


class PostgresWriter:
    """Runs writes in the order in which they come, as many in one transaction as wait.

    Args:
        connection: to begin with.
        connect: makes another one when that was lost; raises `Unavailable`.
        retention: how much of the log is retained, asked at each commit.
        on_commit: called with the events of a commit, before the writers are answered.
    """

    def __init__(
        self,
        connection: asyncpg.Connection[Any],
        connect: Connect,
        retention: Callable[[], RetentionPolicy],
        on_commit: Callable[[Sequence[Event]], None],
    ) -> None:
        self._driver = PostgresDriver(connection, connect)
        self._group = GroupCommit(self._driver, retention, on_commit)
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._serve(), name="write to PostgreSQL")

    @property
    def is_connected(self) -> bool:
        """Whether a write can be expected to work."""
        return self._driver.is_connected

    async def write(self, work: Work) -> tuple[WriteSuccess, Position]:
        """Run the write; raises its error, and `Unavailable` if the server is down or too many writes wait.

        Cancelling the caller does not stop the write: it commits whole, or not at all.
        """
        future = self._group.queue.put(work)
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Run the writes that wait, then end. Safe to call twice."""
        self._group.queue.closing = True
        self._wake.set()
        await asyncio.wait((self._task,))

    async def _serve(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._group.commit_waiting()
                if self._group.queue.closing:
                    return
        finally:
            self._driver.close()


class PostgresDriver:
    """Implements `CommitDriver` on a connection that is made again when it is lost."""

    def __init__(self, connection: asyncpg.Connection[Any], connect: Connect) -> None:
        self._connect = connect
        self._raw: asyncpg.Connection[Any] | None = connection
        self._careful_until = 0.0

    @property
    def is_connected(self) -> bool:
        return self._raw is not None and not self._raw.is_closed()

    @property
    def savepoints(self) -> bool:
        # A savepoint is a way to the server and back: of the 37 that sixteen new users took, half.
        return time.monotonic() < self._careful_until

    async def begin(self) -> PostgresConnection:
        if self._raw is None or self._raw.is_closed():
            self._raw = None
            self._raw = await self._connect()
        connection = PostgresConnection(self._raw)
        await connection.execute("BEGIN")
        return connection

    async def commit(self, connection: PostgresConnection) -> None:
        await connection.execute("COMMIT")

    async def roll_back(self) -> None:
        """Keep the connection if possible: other processes may wait for the lock that it holds."""
        self._careful_until = time.monotonic() + _CAREFUL_S
        if self._raw is None:
            return
        try:
            await PostgresConnection(self._raw).execute("ROLLBACK")
        except Exception:
            self.close()  # its state is unknown

    def deliver(self, call: Callable[[], None]) -> None:
        call()

    def close(self) -> None:
        if self._raw is not None:
            self._raw.terminate()
            self._raw = None
