"""The mails and tokens of a write, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from service.domain.mail.mail import (
    Mail,
    MailKind,
    MailToken,
    MailTokenRef,
    Purpose,
    join_digests,
)
from service.store.sql import rows, statements
from service.store.sql.dialects import Dialect

if TYPE_CHECKING:
    from service.store.sql.runner import StatementRunner


class SqlMail:
    """The mails and mail tokens of a transaction."""

    connection: StatementRunner
    _dialect: Dialect

    async def mail(self, email: str, kind: MailKind) -> Mail | None:
        found = await self.connection.rows(statements.MAIL, of_email=email, of_kind=kind)
        return rows.mail_of(found[0], self._dialect) if found else None

    async def put_mail(self, mail: Mail) -> None:
        await self.connection.run(statements.PUT_MAIL, **rows.of_mail(mail))

    async def claim_mail(self, mail: Mail, until: datetime) -> Mail | None:
        found = await self.connection.rows(
            statements.CLAIM_MAIL, of_email=mail.email, of_kind=mail.kind, seen=mail.due_at, until=until
        )
        return replace(mail, due_at=until, tries=found[0][0], state="sending") if found else None

    async def drop_mail(self, mail: Mail) -> bool:
        seen = {"of_email": mail.email, "of_kind": mail.kind, "seen": mail.due_at}
        return bool(await self.connection.rows(statements.DROP_MAIL, **seen))

    async def mail_token(self, user_id: UUID, purpose: Purpose) -> MailToken | None:
        return self._token(await self.connection.rows(statements.MAIL_TOKEN, of_user=user_id, of_purpose=purpose))

    async def put_mail_token(self, token: MailToken) -> None:
        await self.connection.run(statements.PUT_MAIL_TOKEN, **rows.of_mail_token(token))

    async def take_mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self.mail_token(presented.user_id, purpose)
        if found is None or presented.digest not in found.digests:
            return None
        # Of two who have read the same, one deletes it.
        named = {"of_user": found.user_id, "of_purpose": purpose, "seen": join_digests(found.digests)}
        return self._token(await self.connection.rows(statements.TAKE_MAIL_TOKEN, **named))

    async def mail_token_to(self, email: str, purpose: Purpose) -> MailToken | None:
        found = await self.connection.rows(statements.MAIL_TOKEN_TO, of_email=email, of_purpose=purpose)
        return self._token(found)

    async def forget_mail_tokens(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        if purpose is None:
            await self.connection.run(statements.FORGET_MAIL_TOKENS, of_user=user_id)
        else:
            await self.connection.run(statements.FORGET_MAIL_TOKEN, of_user=user_id, of_purpose=purpose)

    def _token(self, found: Sequence[rows.Row]) -> MailToken | None:
        return rows.mail_token_of(found[0], self._dialect) if found else None
