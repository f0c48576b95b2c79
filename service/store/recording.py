"""The events and audit entries of one write."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from service.domain import audit
from service.domain.audit import AuditEntry, AuditSource, Details, Recorded
from service.domain.events.event import Event


class Recording:
    """The events and audit entries of one transaction.

    Attributes:
        by: the source of the write.
        events: what was appended, in order.
    """

    __slots__ = ("_entries", "_together", "by", "events")

    def __init__(self, by: AuditSource) -> None:
        self.by = by
        self.events: list[Event] = []
        self._entries: list[AuditEntry] = []
        self._together: list[int] = []  # indexes among the events of those that share an entry

    def add_event(self, event: Event, details: Details | None, *, together: bool) -> None:
        """Append an event, with its audit entry unless it shares one."""
        if together:
            self._together.append(len(self.events))
        else:
            self._entries.append(audit.create_entry(event, self.by, details))
        self.events.append(event)

    def add_entry(self, entry: AuditEntry) -> None:
        self._entries.append(entry)

    @property
    def count(self) -> int:
        """How many entries there will be."""
        return len(self._entries) + bool(self._together)

    def entries(self, committed: Sequence[Event]) -> Sequence[AuditEntry]:
        """The audit entries, once the events have their seqs."""
        if not self._together:
            return self._entries
        return [*self._entries, audit.create_import_entry([committed[index] for index in self._together], self.by)]


class RecordedAudit:
    """The audit of a transaction."""

    __slots__ = ("_recording",)

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def record(
        self,
        action: Recorded,
        actor: UUID | None,
        subject: UUID | None,
        details: Details | None = None,
        by: AuditSource | None = None,
    ) -> None:
        self._recording.add_entry(AuditEntry(action, actor, subject, by or self._recording.by, details))
