"""The end of a transaction: its events, audit entries and stored responses, and what the log no longer retains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from service.domain.audit import sequence_at
from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Written
from service.store.sql.audit import DELETE_OLD_ENTRIES, ENTRY, INSERT_ENTRIES
from service.store.sql.event_pages import EVENT
from service.store.sql.idempotency import ANSWER, EMPTY_RESPONSES, SAVE_RESPONSE
from service.store.sql.log_statements import (
    DELETE_EVENTS,
    DELETE_EXPIRED_HOLDS,
    FIRST_SINCE,
    INSERT_EVENTS,
    OLDEST_HOLD,
    POSITION,
    REDACT_EVENTS,
    SET_FIRST,
    START_EPOCH,
    TAKE_SEQS,
)
from service.store.sql.results import WriteSuccess
from service.store.sql.row_mapper import new_values
from service.store.sql.runner import StatementRunner
from service.store.sql.user_statements import SET_VERSION

# A long import leaves as much to trim: at once it would take longer than a write may.
_MOST_TRIMMED: Final = 2_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How much of the log is retained: events among the newest `count`, or not older than `since`; None: no matter.

    And those that are held at this moment, `now`.

    Attributes:
        audit_from: the sequence before which entries of the audit are trimmed; None: not this time.
    """

    count: int
    since: datetime | None
    now: datetime
    audit_from: int | None = None


async def append(
    connection: StatementRunner, done: Sequence[WriteSuccess], retention: RetentionPolicy, last: Position | None
) -> Position:
    """Append the events of these writes, which get their seqs; the position of the log afterwards."""
    count = sum(len(result.events) for result in done)
    entries = sum(result.recording.count for result in done)
    if retention.audit_from is not None:
        await connection.run(DELETE_OLD_ENTRIES, before=retention.audit_from, limit=_MOST_TRIMMED)
    if not entries:  # then there are no events either
        ((epoch, seq, _),) = await connection.rows(POSITION)
        position = Position(epoch, seq)
    else:
        position = await _append_entries(connection, done, retention, last, count, entries)
    await _store_responses(connection, done, position)
    return position


async def _append_entries(
    connection: StatementRunner,
    done: Sequence[WriteSuccess],
    retention: RetentionPolicy,
    last: Position | None,
    count: int,
    entries: int,
) -> Position:
    ((epoch, head, first, audit_sequence),) = await connection.rows(
        TAKE_SEQS, count=count, entries=entries, moment=sequence_at(retention.now)
    )
    seq = head - count
    if last is not None and epoch == last.epoch and seq < last.seq:
        lost, epoch = epoch, new_epoch()
        await connection.run(START_EPOCH, epoch=lost, new=epoch)
    numbered: list[Event] = []
    for result in done:
        result.events = tuple(event.at(seq + place) for place, event in enumerate(result.events, 1))
        seq += len(result.events)
        numbered += result.events
    await _store_audit(connection, done, audit_sequence - entries)
    if not count:
        return Position(epoch, head)
    await connection.run_many(INSERT_EVENTS, [EVENT.to_row(event) for event in numbered])
    versions = {event.subject: event.seq for event in numbered if event.user is not None}
    if versions:  # logins and their ends change no user, and a statement without rows is a round trip all the same
        given = [{"user": user, "seq": seq} for user, seq in versions.items()]
        await connection.run_many(SET_VERSION, given)
    for event in numbered:
        if event.type == "user.deleted":
            # Only events before the deletion: the same write may have created the user again.
            await connection.run(REDACT_EVENTS, id=event.subject, before=event.seq)
    await _trim(connection, head, first, retention)
    return Position(epoch, head)


async def _store_audit(connection: StatementRunner, done: Sequence[WriteSuccess], after: int) -> None:
    entries = (entry for result in done for entry in result.recording.entries(result.events))
    given = [ENTRY.to_row(entry.with_sequence(sequence)) for sequence, entry in enumerate(entries, after + 1)]
    await connection.run_many(INSERT_ENTRIES, given)


async def _store_responses(connection: StatementRunner, done: Sequence[WriteSuccess], position: Position) -> None:
    answered = [
        _answer_row(claim, render(Written(result.value, result.events, position)))
        for result in done
        if result.claimed is not None
        for claim, render in (result.claimed,)
    ]
    if answered:
        await connection.run_many(SAVE_RESPONSE, answered)
    for result in done:
        for event in result.events:
            if event.type == "user.deleted":
                await connection.run(EMPTY_RESPONSES, id=event.subject)


def _answer_row(claim: Claim, answer: StoredResponse) -> dict[str, Any]:
    of_claim = {"user_id": claim.user_id, "route": claim.route, "key": claim.key}
    return of_claim | new_values(ANSWER.to_row(answer))


async def _trim(connection: StatementRunner, head: int, first: int, retention: RetentionPolicy) -> None:
    before = min(head - retention.count + 1, first + _MOST_TRIMMED)
    if before <= first:
        return
    if retention.since is not None:
        ((young,),) = await connection.rows(FIRST_SINCE, since=retention.since, before=before)
        before = before if young is None else young
    if before > first:
        ((after,),) = await connection.rows(OLDEST_HOLD, now=retention.now)
        before = before if after is None else min(before, after + 1)
    if before > first:
        await connection.run(DELETE_EXPIRED_HOLDS, now=retention.now)
        await connection.run(DELETE_EVENTS, before=before)
        await connection.run(SET_FIRST, before=before)
