"""The API tokens of SQL stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.users.user import User
from service.store.sql import rows, statements
from service.store.sql.runner import SqlDatabase, StatementRunner


class SqlApiTokenReads:
    """The API tokens, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._dialect = database.dialect

    async def find_with_user(self, digest: bytes) -> tuple[ApiToken, User] | None:
        found = await self._database.find(statements.TOKEN_WITH_USER, digest=digest)
        if not found:
            return None
        token = rows.TOKEN.from_row(found[0], self._dialect)
        if not token.lives(self._database.now()):
            return None
        return token, rows.USER.from_row(found[0], self._dialect, len(rows.TOKEN.columns))

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        found = await self._database.find(statements.TOKENS_OF, user=user_id)
        return [rows.TOKEN.from_row(row, self._dialect) for row in found]

    async def record_uses(self, uses: Mapping[UUID, datetime]) -> None:
        given = [{"token": token_id, "moment": moment} for token_id, moment in uses.items()]

        async def work(connection: StatementRunner) -> None:
            await connection.run_many(statements.TOKEN_USED, given)

        await self._database.execute(work)


class SqlApiTokenWrites:
    """The API tokens of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def find(self, token_id: UUID) -> ApiToken | None:
        found = await self._connection.rows(statements.TOKEN_BY_ID, id=token_id)
        return rows.TOKEN.from_row(found[0], self._connection.dialect) if found else None

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        found = await self._connection.rows(statements.TOKENS_OF, user=user_id)
        return [rows.TOKEN.from_row(row, self._connection.dialect) for row in found]

    async def create(self, token: ApiToken) -> None:
        await self._connection.run(statements.FORGET_TOKENS, now=token.created_at)
        await self._connection.run(statements.PUT_TOKEN, **rows.TOKEN.to_row(token))

    async def delete(self, token_id: UUID) -> None:
        await self._connection.run(statements.DELETE_TOKEN, id=token_id)
