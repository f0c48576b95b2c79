"""The outbox and the mail tokens of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from service.domain.mail.mail import Mail, MailKind, MailToken, MailTokenRef, Purpose, join_digests
from service.store.sql import rows, statements
from service.store.sql.row_mapper import Row
from service.store.sql.runner import SqlDatabase, StatementRunner


class SqlMailReads:
    """The outbox, as it was last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_due(self, now: datetime, limit: int) -> Sequence[Mail]:
        found = await self._database.find(statements.DUE_MAILS, now=now, limit=limit)
        return [rows.MAIL.from_row(row, self._database.dialect) for row in found]


class SqlMailWrites:
    """The outbox of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, email: str, kind: MailKind) -> Mail | None:
        found = await self._connection.rows(statements.FIND_MAIL, of_email=email, of_kind=kind)
        return rows.MAIL.from_row(found[0], self._connection.dialect) if found else None

    async def enqueue(self, mail: Mail) -> None:
        await self._connection.run(statements.PUT_MAIL, **rows.MAIL.to_row(mail))

    async def claim(self, mail: Mail, until: datetime) -> Mail | None:
        found = await self._connection.rows(
            statements.CLAIM_MAIL, of_email=mail.email, of_kind=mail.kind, seen=mail.due_at, until=until
        )
        return replace(mail, due_at=until, tries=found[0][0], state="sending") if found else None

    async def delete_unchanged(self, mail: Mail) -> bool:
        seen = {"of_email": mail.email, "of_kind": mail.kind, "seen": mail.due_at}
        return bool(await self._connection.rows(statements.DROP_MAIL, **seen))


class SqlMailTokenReads:
    """The mail tokens, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def find(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self._database.find(statements.FIND_MAIL_TOKEN, of_user=presented.user_id, of_purpose=purpose)
        token = rows.MAIL_TOKEN.from_row(found[0], self._database.dialect) if found else None
        return token if token is not None and presented.digest in token.digests else None

    async def list_expired(self, now: datetime, limit: int) -> Sequence[MailToken]:
        found = await self._database.find(statements.EXPIRED_MAIL_TOKENS, now=now, limit=limit)
        return [rows.MAIL_TOKEN.from_row(row, self._database.dialect) for row in found]


class SqlMailTokenWrites:
    """The mail tokens of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, user_id: UUID, purpose: Purpose) -> MailToken | None:
        return self._token(await self._connection.rows(statements.FIND_MAIL_TOKEN, of_user=user_id, of_purpose=purpose))

    async def find_next_for_address(self, email: str, purpose: Purpose) -> MailToken | None:
        return self._token(await self._connection.rows(statements.MAIL_TOKEN_TO, of_email=email, of_purpose=purpose))

    async def save(self, token: MailToken) -> None:
        await self._connection.run(statements.PUT_MAIL_TOKEN, **rows.MAIL_TOKEN.to_row(token))

    async def consume(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self.find(presented.user_id, purpose)
        if found is None or presented.digest not in found.digests:
            return None
        # Of two transactions that have read the same, one deletes it.
        named = {"of_user": found.user_id, "of_purpose": purpose, "seen": join_digests(found.digests)}
        return self._token(await self._connection.rows(statements.TAKE_MAIL_TOKEN, **named))

    async def delete_of_user(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        if purpose is None:
            await self._connection.run(statements.FORGET_MAIL_TOKENS, of_user=user_id)
        else:
            await self._connection.run(statements.FORGET_MAIL_TOKEN, of_user=user_id, of_purpose=purpose)

    def _token(self, found: Sequence[Row]) -> MailToken | None:
        return rows.MAIL_TOKEN.from_row(found[0], self._connection.dialect) if found else None
