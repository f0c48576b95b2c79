"""The audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from service.domain.audit import AuditEntry, AuditQuery, AuditSource, Details, Recorded


class AuditReads(Protocol):
    """The audit of a store."""

    async def list_page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """A page of the audit, the newest entry first."""


class AuditWrites(Protocol):
    """The audit as one transaction adds to it."""

    async def record(
        self,
        action: Recorded,
        actor: UUID | None,
        subject: UUID | None,
        details: Details | None = None,
        by: AuditSource | None = None,
    ) -> None:
        """Record what no event says. `by`: its source, if that is not the source of the write."""
