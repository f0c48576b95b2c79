"""The second factors of a write of the memory store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from service.domain.auth.totp import SecondFactor
from service.store.memory.rows import MemoryRows


class MemorySecondFactors(MemoryRows):
    """The second factors of a transaction."""

    async def put_second_factor(self, user_id: UUID, factor: SecondFactor | None) -> None:
        self._set(self._tables.second_factors, user_id, factor)
        if factor is None:
            self._set(self._tables.recovery_codes, user_id, None)

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        factor = self._tables.second_factors.get(user_id)
        if factor is None or factor.last_step >= step:
            return False
        self._set(self._tables.second_factors, user_id, replace(factor, last_step=step))
        return True

    async def put_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        self._set(self._tables.recovery_codes, user_id, frozenset(digests))

    async def take_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        codes = self._tables.recovery_codes.get(user_id, frozenset())
        if digest in codes:
            self._set(self._tables.recovery_codes, user_id, codes - {digest})
        return digest in codes
