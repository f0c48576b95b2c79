"""The second factors of the memory store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from service.domain.auth.totp import SecondFactor
from service.store.memory.changes import Changes
from service.store.memory.tables import Tables


class MemorySecondFactorReads:
    """The second factors, as they were last committed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def find(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        factor = self._tables.second_factors.get(user_id)
        return None if factor is None else (factor, len(self._tables.recovery_codes.get(user_id, ())))


class MemorySecondFactorWrites:
    """The second factors of a transaction."""

    __slots__ = ("_changes", "_tables")

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._tables = changes.tables

    async def save(self, user_id: UUID, factor: SecondFactor) -> None:
        self._changes.set(self._tables.second_factors, user_id, factor)

    async def delete(self, user_id: UUID) -> None:
        self._changes.set(self._tables.second_factors, user_id, None)
        self._changes.set(self._tables.recovery_codes, user_id, None)

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        factor = self._tables.second_factors.get(user_id)
        if factor is None or factor.last_step >= step:
            return False
        self._changes.set(self._tables.second_factors, user_id, replace(factor, last_step=step))
        return True

    async def replace_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        self._changes.set(self._tables.recovery_codes, user_id, frozenset(digests))

    async def consume_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        codes = self._tables.recovery_codes.get(user_id, frozenset())
        if digest in codes:
            self._changes.set(self._tables.recovery_codes, user_id, codes - {digest})
        return digest in codes
