"""Group commit: one writer runs the writes that wait, as many in one transaction as there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from service.domain.errors import Unavailable
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.store.sql.append import RetentionPolicy
from service.store.sql.batch import BatchConnection, judge, run_batch
from service.store.sql.results import Result, WriteBatch, WriteFailure, WriteRetry, WriteSuccess
from service.store.sql.write_queue import WaitingWrite, WriteQueue

log = logging.getLogger("roster.store")


_NOWHERE: Final = Position("", 0)  # of a transaction that was rolled back, in which no work is done

C = TypeVar("C", bound=BatchConnection)


class CommitDriver(Protocol[C]):
    """One connection to a database, as group commit uses it. Raises `Unavailable`."""

    async def begin(self) -> C: ...

    async def commit(self, connection: C) -> None: ...

    async def roll_back(self) -> None:
        """Undo what has begun. Never raises: a connection that cannot is given up."""

    @property
    def savepoints(self) -> bool:
        """Whether works of the next batch get savepoints; see `run_batch`."""

    def deliver(self, call: Callable[[], None]) -> None:
        """Call on the event loop, in the order of these calls."""


class GroupCommit(Generic[C]):
    """Runs waiting writes in their order.

    Args:
        retention: how much of the log is retained, asked at each commit.
        on_commit: called on the event loop with the events of a commit, before its writers are answered.
    """

    def __init__(
        self,
        driver: CommitDriver[C],
        retention: Callable[[], RetentionPolicy],
        on_commit: Callable[[Sequence[Event]], None],
    ) -> None:
        self._driver = driver
        self._retention = retention
        self._on_commit = on_commit
        self.queue = WriteQueue()
        self.last: Position | None = None
        """Position of the log after the last commit; None before the first."""

    async def commit_waiting(self) -> None:
        """Run until no write waits. For one task or thread at a time."""
        while self.queue:
            await self._commit(self.queue.take())

    async def _commit(self, writes: Sequence[WaitingWrite]) -> None:
        driver, connection = self._driver, None
        try:
            connection = await driver.begin()
            works = [write.work for write in writes]
            batch = await run_batch(connection, works, self._retention(), self.last, savepoints=driver.savepoints)
            if batch.position is None:
                await driver.roll_back()
            else:
                await driver.commit(connection)
        except Exception as error:
            await driver.roll_back()
            if isinstance(error, Unavailable) and not (connection and connection.is_lock_timeout(error)):
                # Later writes would wait as long for the same error, so they fail now.
                writes = [*writes, *self.queue.take_all()]
            batch = WriteBatch([_judge(connection, error)] * len(writes), None)
        if batch.position is not None:
            self.last = batch.position
        self._settle(writes, batch)

    def _settle(self, writes: Sequence[WaitingWrite], batch: WriteBatch) -> None:
        again: list[WaitingWrite] = []
        answers: list[Callable[[], None]] = []
        events: list[Event] = []
        position = batch.position or _NOWHERE
        for write, result in zip(writes, batch.results, strict=True):
            match result:
                case WriteSuccess():
                    answers.append(partial(write.answer, result, position))
                    events += result.events
                case WriteFailure(error):
                    answers.append(partial(write.fail, error))
                case WriteRetry():
                    final = write.fail_or_repeat(result.error, result.most_tries)
                    if final is None:
                        again.append(write)
                    else:
                        answers.append(partial(write.fail, final))
        self.queue.put_back(again)
        if answers:
            self._driver.deliver(partial(self._answer, events, answers))

    def _answer(self, events: Sequence[Event], answers: Sequence[Callable[[], None]]) -> None:
        if events:
            self._on_commit(events)
        for answer in answers:
            answer()


def _judge(connection: BatchConnection | None, error: Exception) -> Result:
    """The result of each work of a transaction that failed as a whole."""
    if connection is not None:
        result = judge(connection, error)
        if isinstance(result, WriteRetry):
            return result
    if not isinstance(error, Unavailable):
        log.error("group of writes failed; all were rolled back", exc_info=error)
    return WriteFailure(error)
