"""The log of SQL stores."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from datetime import datetime
from typing import Final
from uuid import UUID

from service.domain.audit import Details
from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.events.query import EventPage, EventQuery
from service.store.recording import Recording
from service.store.sql.errors import Postponed
from service.store.sql.event_pages import read_page, select_page
from service.store.sql.log_statements import DELETED_USERS, POSITION, ROLE_CHANGED, SAVE_HOLD, START_EPOCH
from service.store.sql.runner import SqlDatabase, StatementRunner

_MOST_WRITTEN: Final = 1_000


class SqlEventReads:
    """The log, as it was last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._written: dict[tuple[str, int], Event] = {}

    def remember(self, epoch: str, events: Sequence[Event]) -> None:
        """Keep what was just written: readers of the log are about to ask for it, and reading a row takes ten times as long."""
        written = self._written
        for event in events[-_MOST_WRITTEN:]:
            written[epoch, event.seq] = event
        while len(written) > _MOST_WRITTEN:
            del written[next(iter(written))]

    async def read_position(self) -> Position:
        ((epoch, seq, _),) = await self._database.find(POSITION)
        return Position(epoch, seq)

    async def list_page(self, query: EventQuery) -> EventPage:
        statement, given = select_page(query)
        found = await self._database.find(statement, **given)
        return read_page(query, found, self._database.dialect, self._written)

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        return bool(await self._database.find(ROLE_CHANGED, subject=user_id, after=after))

    async def start_new_epoch(self, epoch: str) -> None:
        async def work(connection: StatementRunner) -> None:
            await connection.run(START_EPOCH, epoch=epoch, new=new_epoch())

        await self._database.execute(work)


class SqlEventWrites:
    """The log of a transaction.

    Args:
        changed: users that earlier writes of the same batch have changed.
    """

    __slots__ = ("_changed", "_connection", "_recording")

    def __init__(self, connection: StatementRunner, recording: Recording, changed: Set[UUID]) -> None:
        self._connection = connection
        self._recording = recording
        self._changed = changed

    async def append(self, event: Event, details: Details | None = None, *, together: bool = False) -> None:
        self._recording.add_event(event, details, together=together)

    async def retain(self, hold: UUID, until: datetime) -> None:
        await self._connection.run(SAVE_HOLD, hold=hold, until=until)

    async def find_deleted_users(self, ids: Collection[UUID]) -> Set[UUID]:
        if not self._changed.isdisjoint(ids):
            raise Postponed()
        found = await self._connection.rows(DELETED_USERS, ids=list(ids))
        return {self._connection.dialect.identity(row[0]) for row in found}
