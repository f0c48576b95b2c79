"""The events and audit entries of one write."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from service.domain import audit
from service.domain.audit import AuditEntry, AuditSource, Details, Recorded
from service.domain.events.event import Event


class Recording:
    """The part of a `Transaction` that records events and audit entries.

    Attributes:
        by: who writes.
        events: what was appended, in order.
    """

    by: AuditSource

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._entries: list[AuditEntry] = []
        self._together: list[int] = []  # places among the events of those that share an entry

    async def append(self, event: Event, details: Details | None = None, *, together: bool = False) -> None:
        if together:
            self._together.append(len(self.events))
        else:
            self._entries.append(audit.of_event(event, self.by, details))
        self.events.append(event)

    async def record(
        self,
        action: Recorded,
        actor: UUID | None,
        subject: UUID | None,
        details: Details | None = None,
        by: AuditSource | None = None,
    ) -> None:
        self._entries.append(AuditEntry(action, actor, subject, by or self.by, details))

    @property
    def count(self) -> int:
        """How many entries there will be."""
        return len(self._entries) + bool(self._together)

    def entries(self, committed: Sequence[Event]) -> Sequence[AuditEntry]:
        """The audit entries, once the events have their seqs."""
        if not self._together:
            return self._entries
        return [*self._entries, audit.of_many([committed[place] for place in self._together], self.by)]
