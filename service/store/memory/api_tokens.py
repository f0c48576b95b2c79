"""The API tokens of the memory store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.ports import Clock
from service.domain.users.user import User
from service.store.memory.changes import Changes
from service.store.memory.tables import Tables


class MemoryApiTokenReads:
    """The API tokens, as they were last committed."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def find_with_user(self, digest: bytes) -> tuple[ApiToken, User] | None:
        token_id = self._tables.by_digest.get(digest)
        token = None if token_id is None else self._tables.api_tokens.get(token_id)
        if token is None or not token.lives(self._clock()):
            return None
        user = self._tables.users.get(token.user_id.int)
        return None if user is None else (token, user)

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        return self._tables.api_tokens.of(user_id)

    async def record_uses(self, uses: Mapping[UUID, datetime]) -> None:
        for token_id, moment in uses.items():
            token = self._tables.api_tokens.get(token_id)
            if token is not None and (token.last_used_at is None or token.last_used_at < moment):
                self._tables.set_token(replace(token, last_used_at=moment))


class MemoryApiTokenWrites:
    """The API tokens of a transaction."""

    __slots__ = ("_changes", "_tables")

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._tables = changes.tables

    async def find(self, token_id: UUID) -> ApiToken | None:
        return self._tables.api_tokens.get(token_id)

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        return self._tables.api_tokens.of(user_id)

    async def create(self, token: ApiToken) -> None:
        tables = self._tables
        # Each has an end of its own: they are few, and seldom made.
        for expired in [kept.id for kept in tables.api_tokens if not kept.lives(token.created_at)]:
            tables.drop_token(expired)
        tables.set_token(token)
        self._changes.on_undo(lambda: tables.drop_token(token.id))

    async def delete(self, token_id: UUID) -> None:
        before = self._tables.drop_token(token_id)
        if before is not None:
            self._changes.on_undo(lambda: self._tables.set_token(before))
