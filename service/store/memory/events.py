"""The log of the memory store, by the words of its ports."""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import datetime
from uuid import UUID

from service.domain.audit import Details
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventPage, EventQuery
from service.store.memory.log import MemoryLog
from service.store.recording import Recording


class MemoryEventReads:
    """The log, as it was last committed."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def read_position(self) -> Position:
        return self._log.position

    async def list_page(self, query: EventQuery) -> EventPage:
        return self._log.page(query)

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        return self._log.has_role_changed(user_id, after)

    async def start_new_epoch(self, epoch: str) -> None:
        self._log.start_new_epoch(epoch)


class MemoryEventWrites:
    """The log of a transaction.

    Attributes:
        holds: until when events are retained, by the names of the holds; the commit adds them to the log.
    """

    __slots__ = ("_log", "_recording", "holds")

    def __init__(self, log: MemoryLog, recording: Recording) -> None:
        self._log = log
        self._recording = recording
        self.holds: dict[UUID, datetime] = {}

    async def append(self, event: Event, details: Details | None = None, *, together: bool = False) -> None:
        self._recording.add_event(event, details, together=together)

    async def retain(self, hold: UUID, until: datetime) -> None:
        self.holds[hold] = until

    async def find_deleted_users(self, ids: Collection[UUID]) -> Set[UUID]:
        return self._log.deleted(ids)
