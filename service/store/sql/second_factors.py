"""The second factors of SQL stores."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from service.domain.auth.totp import SecondFactor
from service.store.sql import rows, statements
from service.store.sql.runner import SqlDatabase, StatementRunner


class SqlSecondFactorReads:
    """The second factors, as they were last committed."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def find(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        for *row, left in await self._database.find(statements.READ_SECOND_FACTOR, user=user_id):
            factor = rows.read_second_factor(row, self._database.dialect)
            return None if factor is None else (factor, left)
        return None


class SqlSecondFactorWrites:
    """The second factors of a transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection

    async def save(self, user_id: UUID, factor: SecondFactor) -> None:
        await self._connection.run(
            statements.PUT_SECOND_FACTOR, user=user_id, **rows.new_values(rows.SECOND_FACTOR.to_row(factor))
        )

    async def delete(self, user_id: UUID) -> None:
        await self._connection.run(statements.DELETE_SECOND_FACTOR, user=user_id)
        await self._connection.run(statements.FORGET_RECOVERY_CODES, of_user=user_id)

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        return bool(await self._connection.rows(statements.TAKE_STEP, user=user_id, step=step))

    async def replace_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        await self._connection.run(statements.FORGET_RECOVERY_CODES, of_user=user_id)
        given = [{"user_id": user_id, "digest": digest} for digest in digests]
        await self._connection.run_many(statements.PUT_RECOVERY_CODE, given)

    async def consume_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        return bool(await self._connection.rows(statements.TAKE_RECOVERY_CODE, of_user=user_id, presented=digest))
