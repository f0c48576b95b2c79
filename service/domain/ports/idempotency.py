"""Idempotency keys and the responses stored with them."""

from __future__ import annotations

from typing import Protocol

from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports.results import Render


class IdempotencyWrites(Protocol):
    """Idempotency keys as one transaction claims them."""

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        """The stored response to the write with this key; None for a new key, and then the result of `render` is stored.

        Call it at most once in a write. Raises `IdempotencyKeyReused`, `ResponseExpired`, and `InvalidToken` when the
        user no longer exists.
        """
