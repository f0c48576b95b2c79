"""Writes that wait, as one transaction: one block of seqs and one commit for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from service.domain.errors import AlreadyExists, Conflict, DomainError, Unavailable
from service.domain.events.position import Position
from service.store.sql.append import RetentionPolicy, append
from service.store.sql.errors import Duplicate, Postponed
from service.store.sql.idempotency import DELETE_EXPIRED_KEYS
from service.store.sql.results import Result, WriteBatch, WriteFailure, WriteRetry, WriteSuccess
from service.store.sql.row_locks import RowLocks
from service.store.sql.runner import StatementRunner
from service.store.sql.transaction import SqlTransaction
from service.store.sql.users import refuse_taken

_MOST_TRIES: Final = 4
_MOST_TRIES_FOR_A_NAME: Final = 2

Work = Callable[[SqlTransaction], Awaitable[Any]]


class BatchConnection(StatementRunner, Protocol):
    """A connection on which a transaction has begun."""

    async def savepoint(self) -> None: ...

    async def release(self) -> None: ...

    async def undo(self) -> None:
        """Go back to the savepoint, and be rid of it."""

    async def bound_waits(self) -> None:
        """Have later statements of the transaction wait for locks of other processes only shortly."""

    @property
    def changes(self) -> int:
        """Grows whenever something may have been changed."""

    @property
    def is_undone(self) -> bool:
        """Whether an error has ended the whole transaction, so that there is nothing to go back to."""

    def is_write_conflict(self, error: Exception) -> bool:
        """Whether another transaction caused this error: the same work, run again, may find something else."""

    def is_lock_timeout(self, error: Exception) -> bool:
        """Whether the work waited too long for a lock of another transaction."""


async def run_batch(
    connection: BatchConnection,
    works: Sequence[Work],
    retention: RetentionPolicy,
    last: Position | None = None,
    *,
    savepoints: bool = True,
) -> WriteBatch:
    """Run the works, each whole or not at all, inside a transaction that the caller has begun and ends.

    Seqs are taken last, in one block: the row that counts them is locked for the shortest time, and a transaction of
    another process that commits before this one has lower seqs.

    Args:
        last: the position of the batch before. Where the log does not reach it, an older state was restored, and a new epoch begins.
        savepoints: whether a work that fails can be undone alone. A savepoint is a round trip, and few works fail once they
            have begun to write: without savepoints, such a failure rolls back the transaction.
    """
    results: list[Result] = []
    changed: set[UUID] = set()
    locks = RowLocks()
    for place, work in enumerate(works):
        if place == 1:
            locks.may_wait = False
            await connection.bound_waits()
        transaction = SqlTransaction(connection, changed, locks)
        if savepoints:
            results.append(result := await _run(connection, work, transaction))
        else:
            unsaved = await _run_unsaved(connection, work, transaction)
            if isinstance(unsaved, _Spoilt):
                return WriteBatch([unsaved.result if at == place else WriteRetry() for at in range(len(works))], None)
            results.append(result := unsaved)
        if isinstance(result, WriteSuccess):
            changed.update(event.subject for event in result.events)
    done = [result for result in results if isinstance(result, WriteSuccess)]
    claims = [result.claimed[0] for result in done if result.claimed is not None]
    if claims:
        await connection.run(DELETE_EXPIRED_KEYS, now=claims[0].now, limit=2 * len(claims))
    return WriteBatch(results, await append(connection, done, retention, last))


async def _run(connection: BatchConnection, work: Work, transaction: SqlTransaction) -> Result:
    await connection.savepoint()
    try:
        value = await work(transaction)
    except Exception as error:
        if connection.is_undone:
            raise
        await connection.undo()
        if isinstance(error, Duplicate):
            return await _judge_duplicate(connection, error)
        return judge(connection, error)
    await connection.release()
    return _done(value, transaction)


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """A work failed after it had changed something that cannot be undone alone."""

    result: Result


async def _run_unsaved(connection: BatchConnection, work: Work, transaction: SqlTransaction) -> Result | _Spoilt:
    before = connection.changes
    try:
        value = await work(transaction)
    except Exception as error:
        if connection.is_undone:
            raise
        # A refusal of the domain before any change leaves the transaction as it was; an error of the database ends it.
        is_harmless = isinstance(error, Postponed | DomainError) and not isinstance(error, Unavailable)
        result = WriteRetry() if isinstance(error, Duplicate) else judge(connection, error)
        if isinstance(result, WriteRetry) and result.most_tries is not None:
            result = WriteRetry()  # it is tried once more with a savepoint, and judged then
        return result if is_harmless and connection.changes == before else _Spoilt(result)
    return _done(value, transaction)


def judge(connection: BatchConnection, error: Exception) -> Result:
    """The result of a work that raised this error."""
    if isinstance(error, Postponed) or connection.is_lock_timeout(error):
        return WriteRetry()
    if connection.is_write_conflict(error):
        return WriteRetry(Conflict("Others changed the same at the same time; try again."), _MOST_TRIES)
    return WriteFailure(error)


async def _judge_duplicate(connection: BatchConnection, duplicate: Duplicate) -> Result:
    """The other user of that name may have been created meanwhile, and may not stay."""
    try:
        await refuse_taken(connection, duplicate.user)
    except AlreadyExists as error:
        return WriteRetry(error, _MOST_TRIES_FOR_A_NAME)
    return WriteRetry(AlreadyExists(duplicate.field), _MOST_TRIES_FOR_A_NAME)


def _done(value: Any, transaction: SqlTransaction) -> WriteSuccess:
    recording = transaction.recording
    return WriteSuccess(value, recording, transaction.idempotency.claimed, tuple(recording.events))
