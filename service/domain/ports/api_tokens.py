"""API tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.users.user import User


class ApiTokenReads(Protocol):
    """The API tokens of a store."""

    async def find_with_user(self, digest: bytes) -> tuple[ApiToken, User] | None:
        """An API token and its user; None once either is gone, or the token has expired."""

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        """A user's API tokens, the oldest first; some may have expired."""

    async def record_uses(self, uses: Mapping[UUID, datetime]) -> None:
        """Keep when tokens were last used, by their ids; of several moments the latest. This is a write of its own."""


class ApiTokenWrites(Protocol):
    """The API tokens as one transaction sees and changes them."""

    async def find(self, token_id: UUID) -> ApiToken | None: ...

    async def list_of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        """A user's API tokens, the oldest first; some may have expired."""

    async def create(self, token: ApiToken) -> None:
        """Insert a new token, and delete those that have expired by then."""

    async def delete(self, token_id: UUID) -> None: ...
