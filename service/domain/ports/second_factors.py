"""Second factors and recovery codes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from service.domain.auth.totp import SecondFactor


class SecondFactorReads(Protocol):
    """The second factors of a store."""

    async def find(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        """A user's second factor, which may not be confirmed yet, and how many recovery codes are left."""


class SecondFactorWrites(Protocol):
    """The second factors as one transaction changes them."""

    async def save(self, user_id: UUID, factor: SecondFactor) -> None:
        """Set or replace the second factor of a user that exists."""

    async def delete(self, user_id: UUID) -> None:
        """Remove a user's second factor with its recovery codes."""

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        """Whether this step is newer than every step that this user has used; then it becomes the newest, atomically."""

    async def replace_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        """Make these the only recovery codes of a user that exists."""

    async def consume_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        """Whether the user has this code; it is consumed atomically."""
