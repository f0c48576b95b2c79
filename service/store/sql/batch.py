"""Writes that wait, as one transaction: a savepoint each, one block of seqs and one commit for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from service.domain.audit import place_of
from service.domain.errors import AlreadyExists, DomainError, Unavailable
from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render, Written
from service.store.recording import Recording
from service.store.sql import rows, statements
from service.store.sql.errors import Duplicate, NeedsPredecessor
from service.store.sql.runner import StatementRunner
from service.store.sql.transaction import SqlTransaction
from service.store.sql.users import refuse_taken

# A long import leaves as much to trim: at once it would take longer than a write may.
_MOST_TRIMMED: Final = 2_000

Work = Callable[[SqlTransaction], Awaitable[Any]]


class BatchConnection(StatementRunner, Protocol):
    async def savepoint(self) -> None: ...

    async def release(self) -> None: ...

    async def undo(self) -> None:
        """Go back to the savepoint, and be rid of it."""

    @property
    def changes(self) -> int:
        """Grows whenever something may have been changed."""

    @property
    def is_undone(self) -> bool:
        """Whether an error has ended the whole transaction, so that there is nothing to go back to."""

    def is_write_conflict(self, error: Exception) -> bool:
        """Whether this is for another transaction's sake: the same work, carried out again, may find something else."""


@dataclass(slots=True)
class Outcome:
    """The outcome of one write.

    Attributes:
        error: what it raised; then it changed nothing.
        is_write_conflict: whether that was because of another transaction, so that it may go well once more.
        recorded: its events and audit entries, if it succeeded.
        claimed: the key that it took, and what makes the answer to be kept with it.
    """

    value: Any = None
    error: Exception | None = None
    is_write_conflict: bool = False
    events: tuple[Event, ...] = ()
    recorded: Recording | None = None
    claimed: tuple[Claim, Render] | None = None


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How much of the log is kept: events among the newest `count`, or not older than `since`; None: no matter.

    And those that are held at this moment, `now`.

    Attributes:
        audit_from: the place before which entries of the audit are forgotten; None: not this time.
    """

    count: int
    since: datetime | None
    now: datetime
    audit_from: int | None = None


@dataclass(slots=True)
class WriteBatch:
    """Works that were carried out together.

    Attributes:
        outcomes: one for each work; None for a work that has to wait until this batch is committed.
        position: of the log after it.
    """

    outcomes: list[Outcome | None]
    position: Position


class BatchAborted(Exception):
    """A work failed in a transaction without savepoints: all of it has to be undone, and the others to be run again.

    Attributes:
        place: of the work among those of the batch.
        error: what becomes of it; None where it has to be run again, too.
    """

    def __init__(self, place: int, error: Exception | None) -> None:
        super().__init__()
        self.place = place
        self.error = error


async def carry_out(
    connection: BatchConnection,
    works: Sequence[Work],
    kept: RetentionPolicy,
    last: Position | None = None,
    *,
    savepoints: bool = True,
) -> WriteBatch:
    """Run the works, each whole or not at all, inside a transaction that the caller has begun and commits.

    Without `savepoints` it raises `BatchAborted` where it would have needed one: who has to go a long way for each may try so
    first, since few works fail once they have begun to write.

    Where the log does not reach to `last`, the position of the batch before, an older state was put back, and the log
    begins another life.

    Seqs are taken last, in one block: the row that counts them is locked for the shortest time, and a transaction of
    another process that commits before this one has lower seqs.
    """
    outcomes: list[Outcome | None] = []
    changed: set[UUID] = set()
    for place, work in enumerate(works):
        transaction = SqlTransaction(connection, changed)
        if savepoints:
            outcome = await _run(connection, work, transaction)
        else:
            outcome = await _run_at_risk(connection, work, transaction, place)
        outcomes.append(outcome)
        if outcome is not None:
            changed.update(event.subject for event in outcome.events)
    done = [outcome for outcome in outcomes if outcome is not None]
    claims = [outcome.claimed[0] for outcome in done if outcome.claimed is not None]
    if claims:
        await connection.run(statements.FORGET_ANSWERS, now=claims[0].now, limit=2 * len(claims))
    position = await _append(connection, done, kept, last)
    await _keep_answers(connection, done, position)
    return WriteBatch(outcomes, position)


async def _run(connection: BatchConnection, work: Work, transaction: SqlTransaction) -> Outcome | None:
    """The outcome of a write; None if it must wait until this batch is committed."""
    await connection.savepoint()
    try:
        value = await work(transaction)
    except NeedsPredecessor:
        await connection.undo()
        return None
    except Duplicate as duplicate:
        await connection.undo()
        return await _of_duplicate(connection, duplicate)
    except Exception as error:
        if connection.is_undone:
            raise
        await connection.undo()
        return Outcome(error=error, is_write_conflict=connection.is_write_conflict(error))
    await connection.release()
    return _outcome(value, transaction)


async def _run_at_risk(
    connection: BatchConnection, work: Work, transaction: SqlTransaction, place: int
) -> Outcome | None:
    """The same without a savepoint. Raises `BatchAborted`, unless there is nothing to undo."""
    before = connection.changes
    try:
        value = await work(transaction)
    except Exception as error:
        if connection.is_undone:
            raise
        if (
            connection.changes != before
            or not isinstance(error, NeedsPredecessor | DomainError)
            or isinstance(error, Unavailable)
        ):
            again = isinstance(error, NeedsPredecessor | Duplicate) or connection.is_write_conflict(error)
            raise BatchAborted(place, None if again else error) from None
        return None if isinstance(error, NeedsPredecessor) else Outcome(error=error)
    return _outcome(value, transaction)


def _outcome(value: Any, transaction: SqlTransaction) -> Outcome:
    recording = transaction.recording
    return Outcome(value, events=tuple(recording.events), recorded=recording, claimed=transaction.idempotency.claimed)


async def _of_duplicate(connection: BatchConnection, duplicate: Duplicate) -> Outcome:
    """The error for a duplicate name, if it still exists: the other user may have been created meanwhile."""
    try:
        await refuse_taken(connection, duplicate.user)
    except AlreadyExists as error:
        return Outcome(error=error, is_write_conflict=True)
    return Outcome(error=AlreadyExists(duplicate.field), is_write_conflict=True)


async def _append(
    connection: StatementRunner, done: Sequence[Outcome], kept: RetentionPolicy, last: Position | None
) -> Position:
    count = sum(len(outcome.events) for outcome in done)
    entries = sum(outcome.recorded.count for outcome in done if outcome.recorded is not None)
    if kept.audit_from is not None:
        await connection.run(statements.FORGET_ENTRIES, before=kept.audit_from, limit=_MOST_TRIMMED)
    if not entries:  # then there are no events either
        ((epoch, seq, _),) = await connection.rows(statements.POSITION)
        return Position(epoch, seq)
    ((epoch, head, first, audited),) = await connection.rows(
        statements.TAKE_SEQS, count=count, entries=entries, moment=place_of(kept.now)
    )
    seq = head - count
    if last is not None and epoch == last.epoch and seq < last.seq:
        lost, epoch = epoch, new_epoch()
        await connection.run(statements.LEAVE_EPOCH, epoch=lost, new=epoch)
    numbered: list[Event] = []
    for outcome in done:
        outcome.events = tuple(event.at(seq + place) for place, event in enumerate(outcome.events, 1))
        seq += len(outcome.events)
        numbered += outcome.events
    await _keep_entries(connection, done, audited - entries)
    if not count:
        return Position(epoch, head)
    await connection.run_many(statements.KEEP_EVENTS, [rows.EVENT.to_row(event) for event in numbered])
    versions = {event.subject: event.seq for event in numbered if event.user is not None}
    if versions:  # logins and their ends change no user, and nothing said is a way there and back all the same
        given = [{"user": user, "seq": seq} for user, seq in versions.items()]
        await connection.run_many(statements.SET_VERSION, given)
    for event in numbered:
        if event.type == "user.deleted":
            # Only events before the deletion: the same write may have created the user again.
            await connection.run(statements.REDACT, id=event.subject, before=event.seq)
    await _trim(connection, head, first, kept)
    return Position(epoch, head)


async def _keep_entries(connection: StatementRunner, done: Sequence[Outcome], behind: int) -> None:
    recorded = ((outcome.recorded, outcome.events) for outcome in done if outcome.recorded is not None)
    entries = (entry for recording, events in recorded for entry in recording.entries(events))
    given = [rows.ENTRY.to_row(entry.put(place)) for place, entry in enumerate(entries, behind + 1)]
    await connection.run_many(statements.KEEP_ENTRIES, given)


async def _keep_answers(connection: StatementRunner, done: Sequence[Outcome], position: Position) -> None:
    answered = [
        _answer_row(claim, render(Written(outcome.value, outcome.events, position)))
        for outcome in done
        if outcome.claimed is not None
        for claim, render in (outcome.claimed,)
    ]
    if answered:
        await connection.run_many(statements.KEEP_ANSWER, answered)
    for outcome in done:
        for event in outcome.events:
            if event.type == "user.deleted":
                await connection.run(statements.EMPTY_ANSWERS, id=event.subject)


def _answer_row(claim: Claim, answer: StoredResponse) -> dict[str, Any]:
    of_claim = {"user_id": claim.user_id, "route": claim.route, "key": claim.key}
    return of_claim | rows.new_values(rows.ANSWER.to_row(answer))


async def _trim(connection: StatementRunner, head: int, first: int, kept: RetentionPolicy) -> None:
    before = min(head - kept.count + 1, first + _MOST_TRIMMED)
    if before <= first:
        return
    if kept.since is not None:
        ((young,),) = await connection.rows(statements.NEW_ENOUGH, since=kept.since, before=before)
        before = before if young is None else young
    if before > first:
        ((after,),) = await connection.rows(statements.HELD, now=kept.now)
        before = before if after is None else min(before, after + 1)
    if before > first:
        await connection.run(statements.FORGET_HOLDS, now=kept.now)
        await connection.run(statements.TRIM, before=before)
        await connection.run(statements.TRIMMED, before=before)
