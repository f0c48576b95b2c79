"""Secrets and signing keys that all processes of a store share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.domain.auth.signing_key import SigningKey


class Secrets(Protocol):
    """Random texts by name."""

    async def get_or_create(self, name: str) -> str:
        """Random text of 64 characters, the same for every process of this store; the first call creates it."""


class SigningKeys(Protocol):
    """Keys of access tokens."""

    async def list_all(self) -> Sequence[SigningKey]:
        """All keys, in the order in which they begin to sign."""

    async def add_if_none(self, key: SigningKey) -> None:
        """Add a key unless one exists: the first process creates it."""
