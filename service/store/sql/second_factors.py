"""The second factors of a write, in SQL."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from service.domain.auth.totp import SecondFactor
from service.store.sql import rows, statements

if TYPE_CHECKING:
    from service.store.sql.runner import StatementRunner


class SqlSecondFactors:
    """The second factors of a transaction."""

    connection: StatementRunner

    async def put_second_factor(self, user_id: UUID, factor: SecondFactor | None) -> None:
        await self.connection.run(statements.PUT_SECOND_FACTOR, user=user_id, **rows.of_second_factor(factor))
        if factor is None:
            await self.connection.run(statements.FORGET_RECOVERY_CODES, of_user=user_id)

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        return bool(await self.connection.rows(statements.TAKE_STEP, user=user_id, step=step))

    async def put_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        await self.connection.run(statements.FORGET_RECOVERY_CODES, of_user=user_id)
        given = [{"user_id": user_id, "digest": digest} for digest in digests]
        await self.connection.run_many(statements.PUT_RECOVERY_CODE, given)

    async def take_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        return bool(await self.connection.rows(statements.TAKE_RECOVERY_CODE, of_user=user_id, presented=digest))
