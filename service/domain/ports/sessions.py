"""Sessions, and the tickets that stand for one while a WebSocket or a stream opens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.auth.sessions import Session
from service.domain.users.user import User


class SessionReads(Protocol):
    """The sessions of a store that have not expired."""

    async def find_with_user(self, session_id: UUID) -> tuple[Session, User] | None:
        """A session and its user; None once either is gone."""

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        """A user's sessions that have not expired, the oldest first."""


class SessionWrites(Protocol):
    """The sessions as one transaction sees and changes them; some may have expired."""

    async def find(self, session_id: UUID) -> Session | None: ...

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        """A user's sessions, the oldest first."""

    async def save(self, session: Session) -> None:
        """Insert or replace; inserting one may delete sessions that have expired by then."""

    async def delete(self, session_id: UUID) -> None: ...


class Tickets(Protocol):
    """Tickets that can be used once. Creating and consuming one is a write of its own."""

    async def create(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None: ...

    async def consume(self, digest: bytes, now: datetime) -> UUID | None:
        """The session of a ticket that has not expired; the ticket is consumed atomically."""
