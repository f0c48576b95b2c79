"""What the command line does, kept in the audit with the change itself."""

from __future__ import annotations

from datetime import UTC, datetime

from service.domain.audit import COMMAND, AuditEntry, Details, Recorded, place_of
from service.store.maintenance.database import TableWriter
from service.store.sql import rows, statements


async def tell(writer: TableWriter, action: Recorded, details: Details | None = None) -> None:
    """Have the audit keep it, behind what is there, in this transaction."""
    moment = place_of(datetime.now(UTC))
    ((_, _, _, place),) = await writer.rows(statements.TAKE_SEQS, count=0, entries=1, moment=moment)
    entry = AuditEntry(action, None, None, COMMAND, details)
    await writer.rows(statements.KEEP_ENTRY, **rows.of_entry(entry, place))
