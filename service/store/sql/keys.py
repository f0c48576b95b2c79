"""The secrets and signing keys of SQL stores."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from service.domain.auth.signing_key import SigningKey
from service.store.sql import rows, statements
from service.store.sql.runner import SqlDatabase, StatementRunner


class SqlSecrets:
    """Random texts by name."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def get_or_create(self, name: str) -> str:
        async def work(connection: StatementRunner) -> str:
            # The first process creates it; every process reads what is there then.
            await connection.run(statements.OFFER_SECRET, name=name, value=secrets.token_hex(32))
            ((value,),) = await connection.rows(statements.SECRET, name=name)
            return str(value)

        return await self._database.execute(work)


class SqlSigningKeys:
    """Keys of access tokens."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_all(self) -> Sequence[SigningKey]:
        found = await self._database.find(statements.SIGNING_KEYS)
        return [rows.SIGNING_KEY.from_row(row, self._database.dialect) for row in found]

    async def add_if_none(self, key: SigningKey) -> None:
        async def work(connection: StatementRunner) -> None:
            await connection.rows(statements.LOCK_LOG)
            if not await connection.rows(statements.SIGNING_KEYS):
                await connection.run(statements.KEEP_SIGNING_KEY, **rows.SIGNING_KEY.to_row(key))

        await self._database.execute(work)
