"""The secrets and signing keys of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Final

from sqlalchemy import bindparam, delete, insert, select

from service.domain.auth.signing_key import SigningKey
from service.store.sql.builders import fixed
from service.store.sql.dialects import Statement
from service.store.sql.log_statements import LOCK_LOG
from service.store.sql.row_mapper import RowMapper
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import secrets, signing_keys

SIGNING_KEY: Final = RowMapper(SigningKey, signing_keys)

ADD_SECRET_IF_NONE: Final = Statement(
    lambda dialect: (
        dialect.insert(secrets).values(name=bindparam("name"), value=bindparam("value")).on_conflict_do_nothing()
    )
)
SECRET: Final = fixed(select(secrets.c.value).where(secrets.c.name == bindparam("name")))
SIGNING_KEYS: Final = fixed(select(*SIGNING_KEY.columns).order_by(signing_keys.c.signs_from, signing_keys.c.kid))
INSERT_SIGNING_KEY: Final = fixed(insert(signing_keys))
DELETE_SIGNING_KEY: Final = fixed(delete(signing_keys).where(signing_keys.c.kid == bindparam("kid")))


class SqlSecrets:
    """Random texts by name."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def get_or_create(self, name: str) -> str:
        async def work(connection: StatementRunner) -> str:
            # The first process creates it; every process reads what is there then.
            await connection.run(ADD_SECRET_IF_NONE, name=name, value=token_hex(32))
            ((value,),) = await connection.rows(SECRET, name=name)
            return str(value)

        return await self._database.execute(work)


class SqlSigningKeys:
    """Keys of access tokens."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def list_all(self) -> Sequence[SigningKey]:
        found = await self._database.find(SIGNING_KEYS)
        return [SIGNING_KEY.from_row(row, self._database.dialect) for row in found]

    async def add_if_none(self, key: SigningKey) -> None:
        async def work(connection: StatementRunner) -> None:
            await connection.rows(LOCK_LOG)
            if not await connection.rows(SIGNING_KEYS):
                await connection.run(INSERT_SIGNING_KEY, **SIGNING_KEY.to_row(key))

        await self._database.execute(work)
