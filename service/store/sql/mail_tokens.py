"""The mail tokens of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import and_, bindparam, case, delete, select

from service.domain.mail.mail import MailToken, MailTokenRef, Purpose, join_digests, split_digests
from service.store.sql.builders import fixed, upsert
from service.store.sql.row_mapper import Codec, Row, RowMapper
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import mail_tokens

MAIL_TOKEN: Final = RowMapper(MailToken, mail_tokens, codecs={"digests": Codec(join_digests, split_digests)})
_THIS_TOKEN: Final = and_(
    mail_tokens.c.user_id == bindparam("of_user"), mail_tokens.c.purpose == bindparam("of_purpose")
)
FIND_MAIL_TOKEN: Final = fixed(select(*MAIL_TOKEN.columns).where(_THIS_TOKEN))
SAVE_MAIL_TOKEN: Final = upsert(mail_tokens)
CONSUME_MAIL_TOKEN: Final = fixed(
    delete(mail_tokens).where(_THIS_TOKEN, mail_tokens.c.digests == bindparam("seen")).returning(*MAIL_TOKEN.columns)
)
DELETE_MAIL_TOKENS: Final = fixed(delete(mail_tokens).where(mail_tokens.c.user_id == bindparam("of_user")))
DELETE_MAIL_TOKEN: Final = fixed(delete(mail_tokens).where(_THIS_TOKEN))
NEXT_MAIL_TOKEN: Final = fixed(
    select(*MAIL_TOKEN.columns)
    .where(mail_tokens.c.email == bindparam("of_email"), mail_tokens.c.purpose == bindparam("of_purpose"))
    .order_by(
        case((mail_tokens.c.digests.is_(None), 0), else_=1),
        case((mail_tokens.c.digests.is_(None), mail_tokens.c.expires_at)),
        mail_tokens.c.expires_at.desc(),
        mail_tokens.c.user_id.desc(),
    )
    .limit(1)
)
EXPIRED_MAIL_TOKENS: Final = fixed(
    select(*MAIL_TOKEN.columns)
    .where(mail_tokens.c.expires_at <= bindparam("now"))
    .order_by(mail_tokens.c.expires_at)
    .limit(bindparam("limit"))
)


class SqlMailTokenReads:
    """The mail tokens, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def find(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self._database.find(FIND_MAIL_TOKEN, of_user=presented.user_id, of_purpose=purpose)
        token = MAIL_TOKEN.from_row(found[0], self._database.dialect) if found else None
        return token if token is not None and presented.digest in token.digests else None

    async def list_expired(self, now: datetime, limit: int) -> Sequence[MailToken]:
        found = await self._database.find(EXPIRED_MAIL_TOKENS, now=now, limit=limit)
        return [MAIL_TOKEN.from_row(row, self._database.dialect) for row in found]


class SqlMailTokenWrites:
    """The mail tokens of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, user_id: UUID, purpose: Purpose) -> MailToken | None:
        return self._token(await self._connection.rows(FIND_MAIL_TOKEN, of_user=user_id, of_purpose=purpose))

    async def find_next_for_address(self, email: str, purpose: Purpose) -> MailToken | None:
        return self._token(await self._connection.rows(NEXT_MAIL_TOKEN, of_email=email, of_purpose=purpose))

    async def save(self, token: MailToken) -> None:
        await self._connection.run(SAVE_MAIL_TOKEN, **MAIL_TOKEN.to_row(token))

    async def consume(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self.find(presented.user_id, purpose)
        if found is None or presented.digest not in found.digests:
            return None
        # Of two transactions that have read the same, one deletes it.
        named = {"of_user": found.user_id, "of_purpose": purpose, "seen": join_digests(found.digests)}
        return self._token(await self._connection.rows(CONSUME_MAIL_TOKEN, **named))

    async def delete_of_user(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        if purpose is None:
            await self._connection.run(DELETE_MAIL_TOKENS, of_user=user_id)
        else:
            await self._connection.run(DELETE_MAIL_TOKEN, of_user=user_id, of_purpose=purpose)

    def _token(self, found: Sequence[Row]) -> MailToken | None:
        return MAIL_TOKEN.from_row(found[0], self._connection.dialect) if found else None
