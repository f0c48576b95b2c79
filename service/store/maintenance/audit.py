"""Audit entries of the command line, which commit with their change."""

from __future__ import annotations

from datetime import UTC, datetime

from service.domain.audit import COMMAND, AuditEntry, Details, Recorded, sequence_at
from service.store.maintenance.database import TableWriter
from service.store.sql.audit import ENTRY, INSERT_ENTRY
from service.store.sql.log_statements import TAKE_SEQS


async def record_audit(writer: TableWriter, action: Recorded, details: Details | None = None) -> None:
    """Append an audit entry in this transaction."""
    moment = sequence_at(datetime.now(UTC))
    ((_, _, _, sequence),) = await writer.rows(TAKE_SEQS, count=0, entries=1, moment=moment)
    entry = AuditEntry(action, None, None, COMMAND, details, sequence)
    await writer.rows(INSERT_ENTRY, **ENTRY.to_row(entry))
