"""The secrets and signing keys of the memory store."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from service.domain.auth.signing_key import SigningKey


class MemorySecrets:
    """Random texts by name."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}

    async def get_or_create(self, name: str) -> str:
        return self._secrets.setdefault(name, secrets.token_hex(32))


class MemorySigningKeys:
    """Keys of access tokens."""

    def __init__(self) -> None:
        self._keys: list[SigningKey] = []

    async def list_all(self) -> Sequence[SigningKey]:
        return list(self._keys)

    async def add_if_none(self, key: SigningKey) -> None:
        if not self._keys:
            self._keys.append(key)
