"""The one task that writes to PostgreSQL, many writes a transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg

from service.domain.errors import AlreadyExists, Conflict, Unavailable
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.store.postgres.connection import PostgresConnection, is_write_conflict
from service.store.sql.batch import BatchAborted, Outcome, RetentionPolicy, Work, WriteBatch, carry_out
from service.store.sql.write_queue import Queue, Waiting

CHANNEL: Final = "roster"
_MOST_TRIES: Final = 4
_CAREFUL_S: Final = 1.0  # so long after one that failed each work has a savepoint: where one fails, others do

log = logging.getLogger("roster.store")


class PostgresWriter:
    """Carries out writes in the order in which they come, as many in one transaction as wait.

    Args:
        connection: to begin with.
        connect: makes another one when that was lost; raises `Unavailable`.
        kept: how much of the log is kept, asked at each commit.
        on_commit: called with the events of a commit, before the writers are answered.
    """

    def __init__(
        self,
        connection: asyncpg.Connection[Any],
        connect: Callable[[], Awaitable[asyncpg.Connection[Any]]],
        kept: Callable[[], RetentionPolicy],
        on_commit: Callable[[Sequence[Event]], None],
    ) -> None:
        self._connect = connect
        self._kept = kept
        self._on_commit = on_commit
        self._queue = Queue()
        self._last: Position | None = None
        self._careful_until = 0.0
        self._wake = asyncio.Event()
        self._connection: asyncpg.Connection[Any] | None = connection
        self._task = asyncio.create_task(self._serve(), name="write to PostgreSQL")

    @property
    def is_connected(self) -> bool:
        """Whether a write can be expected to work."""
        return self._connection is not None and not self._connection.is_closed()

    async def write(self, work: Work) -> tuple[Outcome, Position]:
        """Run the write; raises `Unavailable` if the server is down or too many writes wait.

        Cancelling the caller does not stop the write: it commits whole, or not at all.
        """
        future = self._queue.put(work)
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Carry out what waits, then end. Safe to call twice."""
        self._queue.closing = True
        self._wake.set()
        await asyncio.wait((self._task,))

    async def _serve(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._commit(self._queue.take())
                if self._queue.closing:
                    return
        finally:
            if self._connection is not None:
                self._connection.terminate()

    async def _commit(self, together: Sequence[Waiting]) -> None:
        try:
            batch = await self._carry_out([waiting.work for waiting in together])
        except BatchAborted as spoilt:
            await self._roll_back()
            self._careful_until = time.monotonic() + _CAREFUL_S
            rest = list(together)
            if spoilt.error is not None:
                rest.pop(spoilt.place).fail(spoilt.error)
            self._queue.put_back(rest)
            return
        except Exception as error:
            await self._roll_back()
            self._give_back(together, error)
            return
        self._last = batch.position
        again = []
        if appended := [event for outcome in batch.outcomes if outcome is not None for event in outcome.events]:
            self._on_commit(appended)
        for waiting, outcome in zip(together, batch.outcomes, strict=True):
            if outcome is None:
                again.append(waiting)
                continue
            if outcome.is_write_conflict:
                waiting.tries += 1
                is_taken = isinstance(outcome.error, AlreadyExists)
                if waiting.tries < (2 if is_taken else _MOST_TRIES):
                    again.append(waiting)
                    continue
                if not is_taken:
                    outcome = Outcome(error=_at_once())
            waiting.answer(outcome, batch.position)
        self._queue.put_back(again)

    def _give_back(self, together: Sequence[Waiting], error: Exception) -> None:
        """The outcome of writes whose transaction failed."""
        if is_write_conflict(error):
            for waiting in together:
                waiting.tries += 1
            self._queue.put_back(waiting for waiting in together if waiting.tries < _MOST_TRIES)
            together, error = [waiting for waiting in together if waiting.tries >= _MOST_TRIES], _at_once()
        elif isinstance(error, Unavailable):
            # Later writes would wait as long for the same error, so they fail now.
            together = [*together, *self._queue.take_all()]
        else:
            log.error("writes failed", exc_info=error)
        for waiting in together:
            waiting.fail(error)

    async def _carry_out(self, works: list[Work]) -> WriteBatch:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await self._connect()
        connection = PostgresConnection(self._connection)
        await connection.say("BEGIN")
        # A savepoint is a way to the server and back: of the 37 that sixteen new users took, half.
        careful = time.monotonic() < self._careful_until
        batch = await carry_out(connection, works, self._kept(), self._last, savepoints=careful)
        if any(outcome is not None and outcome.events for outcome in batch.outcomes):
            await connection.say(f"NOTIFY {CHANNEL}; COMMIT")
        else:
            await connection.say("COMMIT")
        return batch

    async def _roll_back(self) -> None:
        """Keep the connection where that can be done: others may wait for the lock that it holds."""
        if self._connection is None:
            return
        try:
            await PostgresConnection(self._connection).say("ROLLBACK")
        except Exception:
            self._connection.terminate()  # its state is unknown
            self._connection = None


def _at_once() -> Conflict:
    return Conflict("Others changed the same at the same time; try again.")
