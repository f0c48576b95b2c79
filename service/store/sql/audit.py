"""The audit of SQL stores."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select

from service.domain.audit import AuditEntry, AuditQuery, AuditSource
from service.store.sql.builders import fixed, insert_rows
from service.store.sql.dialects import Statement
from service.store.sql.json_codec import JSON
from service.store.sql.row_mapper import RowMapper
from service.store.sql.runner import SqlDatabase
from service.store.sql.tables import audit

ENTRY: Final = RowMapper(AuditEntry, audit, nested={"by": AuditSource}, codecs={"details": JSON})

INSERT_ENTRIES: Final = insert_rows(audit)
INSERT_ENTRY: Final = fixed(insert(audit))
# So many at once that none pays for all.
DELETE_OLD_ENTRIES: Final = fixed(
    delete(audit).where(
        audit.c.sequence.in_(
            select(audit.c.sequence)
            .where(audit.c.sequence < bindparam("before"))
            .order_by(audit.c.sequence)
            .limit(bindparam("limit"))
        )
    )
)


def list_entries(*, actor: bool, subject: bool, action: bool, first: bool, end: bool) -> Statement:
    """A page of the audit, the newest entry first; each argument is whether that is asked for."""
    conditions = []
    if actor:
        conditions.append(audit.c.actor == bindparam("actor"))
    if subject:
        conditions.append(audit.c.subject == bindparam("subject"))
    if action:
        conditions.append(audit.c.action == bindparam("action"))
    if first:
        conditions.append(audit.c.sequence >= bindparam("first"))
    if end:
        conditions.append(audit.c.sequence < bindparam("end"))
    return fixed(select(*ENTRY.columns).where(*conditions).order_by(audit.c.sequence.desc()).limit(bindparam("limit")))


_page = functools.cache(list_entries)


def select_page(query: AuditQuery) -> tuple[Statement, dict[str, Any]]:
    given = {
        "actor": query.actor,
        "subject": query.subject,
        "action": query.action,
        "first": query.first,
        "end": query.end,
    }
    statement = _page(**{name: value is not None for name, value in given.items()})
    return statement, given | {"limit": query.limit}


class SqlAuditReads:
    """The audit, as it was last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_page(self, query: AuditQuery) -> Sequence[AuditEntry]:
        statement, given = select_page(query)
        # One condition is an index; of several the others are looked for in it, which may be long.
        is_short = sum(given[name] is not None for name in ("actor", "subject", "action")) < 2
        found = await (self._database.find if is_short else self._database.search)(statement, **given)
        return [ENTRY.from_row(row, self._database.dialect) for row in found]
