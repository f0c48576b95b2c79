"""The second factors of SQL stores."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, null, select, update

from service.domain.auth.totp import SecondFactor
from service.store.sql.builders import fixed
from service.store.sql.dialects import Dialect
from service.store.sql.row_mapper import Row, RowMapper, new_values
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import recovery_codes, users

SECOND_FACTOR: Final = RowMapper(
    SecondFactor,
    users,
    renamed={"secret": "totp_secret", "since": "totp_confirmed_at", "last_step": "totp_last_step"},
)

SET_SECOND_FACTOR: Final = fixed(
    update(users)
    .where(users.c.id == bindparam("user"))
    .values({column.name: bindparam(f"new_{column.name}") for column in SECOND_FACTOR.columns})
)
DELETE_SECOND_FACTOR: Final = fixed(
    update(users)
    .where(users.c.id == bindparam("user"))
    .values({column.name: null() for column in SECOND_FACTOR.columns})
)
# Of two who bring one code one finds an older step; so it is also where nothing was locked before.
CONSUME_TOTP_STEP: Final = fixed(
    update(users)
    .where(users.c.id == bindparam("user"), users.c.totp_last_step < bindparam("step"))
    .values(totp_last_step=bindparam("step"))
    .returning(users.c.totp_last_step)
)
INSERT_RECOVERY_CODE: Final = fixed(insert(recovery_codes))
CONSUME_RECOVERY_CODE: Final = fixed(
    delete(recovery_codes)
    .where(recovery_codes.c.user_id == bindparam("of_user"), recovery_codes.c.digest == bindparam("presented"))
    .returning(recovery_codes.c.user_id)
)
DELETE_RECOVERY_CODES: Final = fixed(delete(recovery_codes).where(recovery_codes.c.user_id == bindparam("of_user")))
_CODES_LEFT: Final = (
    select(func.count()).select_from(recovery_codes).where(recovery_codes.c.user_id == users.c.id).scalar_subquery()
)
SECOND_FACTOR_WITH_CODES: Final = fixed(
    select(*SECOND_FACTOR.columns, _CODES_LEFT).where(users.c.id == bindparam("user"), users.c.totp_secret.is_not(None))
)


def read_second_factor(row: Row, dialect: Dialect, start: int = 0) -> SecondFactor | None:
    """From the columns of `SECOND_FACTOR`, which are null for a user without one."""
    return None if row[start] is None else SECOND_FACTOR.from_row(row, dialect, start)


class SqlSecondFactorReads:
    """The second factors, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def find(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        for *row, left in await self._database.find(SECOND_FACTOR_WITH_CODES, user=user_id):
            factor = read_second_factor(row, self._database.dialect)
            return None if factor is None else (factor, left)
        return None


class SqlSecondFactorWrites:
    """The second factors of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def save(self, user_id: UUID, factor: SecondFactor) -> None:
        await self._connection.run(SET_SECOND_FACTOR, user=user_id, **new_values(SECOND_FACTOR.to_row(factor)))

    async def delete(self, user_id: UUID) -> None:
        await self._connection.run(DELETE_SECOND_FACTOR, user=user_id)
        await self._connection.run(DELETE_RECOVERY_CODES, of_user=user_id)

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        return bool(await self._connection.rows(CONSUME_TOTP_STEP, user=user_id, step=step))

    async def replace_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        await self._connection.run(DELETE_RECOVERY_CODES, of_user=user_id)
        given = [{"user_id": user_id, "digest": digest} for digest in digests]
        await self._connection.run_many(INSERT_RECOVERY_CODE, given)

    async def consume_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        return bool(await self._connection.rows(CONSUME_RECOVERY_CODE, of_user=user_id, presented=digest))
