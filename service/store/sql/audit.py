"""The audit of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.audit import AuditEntry, AuditQuery
from service.store.sql import queries, rows
from service.store.sql.runner import SqlDatabase


class SqlAuditReads:
    """The audit, as it was last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        statement, given = queries.audit(query)
        # One condition is an index; of several the others are looked for in it, which may be long.
        is_short = sum(given[name] is not None for name in ("actor", "subject", "action")) < 2
        found = await (self._database.find if is_short else self._database.search)(statement, **given)
        return [rows.ENTRY.from_row(row, self._database.dialect) for row in found]
