"""The log of events."""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.audit import Details
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventPage, EventQuery


class EventReads(Protocol):
    """The log of a store, with its epoch and head."""

    async def read_position(self) -> Position: ...

    async def list_page(self, query: EventQuery) -> EventPage: ...

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        """Whether an event after that seq changed this user's role; costs the same however many events the user has."""

    async def start_new_epoch(self, epoch: str) -> None:
        """Start a new epoch of the log, if this is still its epoch. This is a write of its own.

        Call it when a higher head was seen in this epoch: an older state was restored, and new events would get seqs
        that readers have seen.
        """


class EventWrites(Protocol):
    """The log as one transaction appends to it."""

    async def append(self, event: Event, details: Details | None = None, *, together: bool = False) -> None:
        """Append an event to the log; the commit gives it its seq, and its user that version.

        The audit records it with these details. With `together`, for events that are many and alike, one audit entry
        counts all of this write.
        """

    async def retain(self, hold: UUID, until: datetime) -> None:
        """Retain events after the present head, whatever their number, until then.

        A later call with the same `hold` only moves the end. Every process that trims the log respects it.
        """

    async def find_deleted_users(self, ids: Collection[UUID]) -> Set[UUID]:
        """Which of these ids belonged to a user whose deletion the log still holds, and so perhaps events before it."""
