"""The API tokens of SQL stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, or_, select, update

from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.users.user import User
from service.store.sql.builders import delete_expired, fixed
from service.store.sql.row_mapper import Codec, RowMapper
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import api_tokens, users
from service.store.sql.user_statements import USER

TOKEN: Final = RowMapper(
    ApiToken,
    api_tokens,
    codecs={"scopes": Codec(scopes.written, lambda text: scopes.read(text, "admin"))},
)

TOKEN_BY_ID: Final = fixed(select(*TOKEN.columns).where(api_tokens.c.id == bindparam("id")))
TOKEN_WITH_USER: Final = fixed(
    select(*TOKEN.columns, *USER.columns)
    .join(users, users.c.id == api_tokens.c.user_id)
    .where(api_tokens.c.digest == bindparam("digest"))
)
TOKENS_OF_USER: Final = fixed(
    select(*TOKEN.columns)
    .where(api_tokens.c.user_id == bindparam("user"))
    .order_by(api_tokens.c.created_at, api_tokens.c.id)
)
INSERT_TOKEN: Final = fixed(insert(api_tokens))
RECORD_USE: Final = fixed(
    update(api_tokens)
    .where(
        api_tokens.c.id == bindparam("token"),
        or_(api_tokens.c.last_used_at.is_(None), api_tokens.c.last_used_at < bindparam("moment")),
    )
    .values(last_used_at=bindparam("moment"))
)
DELETE_TOKEN: Final = fixed(delete(api_tokens).where(api_tokens.c.id == bindparam("id")))
DELETE_EXPIRED_TOKENS: Final = delete_expired(api_tokens)


class SqlApiTokenReads:
    """The API tokens, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._dialect = database.dialect

    async def find_with_user(self, digest: bytes) -> tuple[ApiToken, User] | None:
        found = await self._database.find(TOKEN_WITH_USER, digest=digest)
        if not found:
            return None
        token = TOKEN.from_row(found[0], self._dialect)
        if not token.lives(self._database.now()):
            return None
        return token, USER.from_row(found[0], self._dialect, len(TOKEN.columns))

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        found = await self._database.find(TOKENS_OF_USER, user=user_id)
        return [TOKEN.from_row(row, self._dialect) for row in found]

    async def record_uses(self, uses: Mapping[UUID, datetime]) -> None:
        given = [{"token": token_id, "moment": moment} for token_id, moment in uses.items()]

        async def work(connection: StatementRunner) -> None:
            await connection.run_many(RECORD_USE, given)

        await self._database.execute(work)


class SqlApiTokenWrites:
    """The API tokens of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, token_id: UUID) -> ApiToken | None:
        found = await self._connection.rows(TOKEN_BY_ID, id=token_id)
        return TOKEN.from_row(found[0], self._connection.dialect) if found else None

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        found = await self._connection.rows(TOKENS_OF_USER, user=user_id)
        return [TOKEN.from_row(row, self._connection.dialect) for row in found]

    async def create(self, token: ApiToken) -> None:
        await self._connection.run(DELETE_EXPIRED_TOKENS, now=token.created_at)
        await self._connection.run(INSERT_TOKEN, **TOKEN.to_row(token))

    async def delete(self, token_id: UUID) -> None:
        await self._connection.run(DELETE_TOKEN, id=token_id)
