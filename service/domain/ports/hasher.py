"""Hashes of passwords."""

from __future__ import annotations

from typing import Protocol


class Hasher(Protocol):
    """Passwords to hashes and back. Both raise `Unavailable` when too many already wait, `TooMany` when too many of the caller's."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether they match; None takes as long as a real hash and never matches."""

    def is_outdated(self, password_hash: str) -> bool:
        """Whether `hash` would make it in another way by now, as one that was made elsewhere."""
