"""The outbox of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, delete, select, update

from service.domain.mail.mail import Mail, MailKind
from service.store.sql.builders import fixed, upsert
from service.store.sql.row_mapper import RowMapper
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import mails

MAIL: Final = RowMapper(Mail, mails)

_THIS_MAIL: Final = and_(
    mails.c.email == bindparam("of_email"), mails.c.kind == bindparam("of_kind"), mails.c.due_at == bindparam("seen")
)
FIND_MAIL: Final = fixed(
    select(*MAIL.columns).where(mails.c.email == bindparam("of_email"), mails.c.kind == bindparam("of_kind"))
)
SAVE_MAIL: Final = upsert(mails)
# By when it was due, as it was read: of two who would send it one finds it as it was.
CLAIM_MAIL: Final = fixed(
    update(mails)
    .where(_THIS_MAIL)
    .values(due_at=bindparam("until"), tries=mails.c.tries + 1, state="sending")
    .returning(mails.c.tries)
)
DELETE_UNCHANGED_MAIL: Final = fixed(delete(mails).where(_THIS_MAIL).returning(mails.c.kind))
DUE_MAILS: Final = fixed(
    select(*MAIL.columns).where(mails.c.due_at <= bindparam("now")).order_by(mails.c.due_at).limit(bindparam("limit"))
)


class SqlMailReads:
    """The outbox, as it was last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_due(self, now: datetime, limit: int) -> Sequence[Mail]:
        found = await self._database.find(DUE_MAILS, now=now, limit=limit)
        return [MAIL.from_row(row, self._database.dialect) for row in found]


class SqlMailWrites:
    """The outbox of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, email: str, kind: MailKind) -> Mail | None:
        found = await self._connection.rows(FIND_MAIL, of_email=email, of_kind=kind)
        return MAIL.from_row(found[0], self._connection.dialect) if found else None

    async def enqueue(self, mail: Mail) -> None:
        await self._connection.run(SAVE_MAIL, **MAIL.to_row(mail))

    async def claim(self, mail: Mail, until: datetime) -> Mail | None:
        found = await self._connection.rows(
            CLAIM_MAIL, of_email=mail.email, of_kind=mail.kind, seen=mail.due_at, until=until
        )
        return replace(mail, due_at=until, tries=found[0][0], state="sending") if found else None

    async def delete_unchanged(self, mail: Mail) -> bool:
        seen = {"of_email": mail.email, "of_kind": mail.kind, "seen": mail.due_at}
        return bool(await self._connection.rows(DELETE_UNCHANGED_MAIL, **seen))
