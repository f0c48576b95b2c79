"""The sessions and tickets of the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from service.domain.auth.sessions import Session
from service.domain.ports import Clock
from service.domain.users.user import User
from service.store.memory.changes import Changes
from service.store.memory.tables import Tables


class MemorySessionReads:
    """The sessions that have not expired."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def find_with_user(self, session_id: UUID) -> tuple[Session, User] | None:
        session = self._tables.sessions.get(session_id)
        if session is None or session.expires_at <= self._clock():
            return None
        user = self._tables.users.get(session.user_id.int)
        return None if user is None else (session, user)

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        now = self._clock()
        return [session for session in self._tables.sessions.of(user_id) if session.expires_at > now]


class MemorySessionWrites:
    """The sessions of a transaction."""

    __slots__ = ("_changes", "_sessions")

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._sessions = changes.tables.sessions

    async def find(self, session_id: UUID) -> Session | None:
        return self._sessions.get(session_id)

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        return self._sessions.of(user_id)

    async def save(self, session: Session) -> None:
        sessions = self._sessions
        before = sessions.get(session.id)
        sessions.put(session)
        self._changes.on_undo(lambda: sessions.put(before) if before else sessions.drop(session.id))
        if before is None:
            self._delete_expired(session.created_at)

    async def delete(self, session_id: UUID) -> None:
        before = self._sessions.drop(session_id)
        if before is not None:
            self._changes.on_undo(lambda: self._sessions.put(before))

    def _delete_expired(self, now: datetime) -> None:
        # All sessions live equally long from their last refresh, so the first valid one ends the search. A session
        # that reached its absolute lifetime earlier is removed that much later.
        for expired in list(takewhile(lambda session: session.expires_at <= now, self._sessions)):
            self._sessions.drop(expired.id)


class MemoryTickets:
    """Tickets by their digests, in the order of their creation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tickets: dict[bytes, tuple[UUID, datetime]] = {}

    async def create(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._clock()
        # All tickets live equally long: the oldest come first, and the first that still lives ends the search.
        for expired in list(takewhile(lambda kept: self._tickets[kept][1] <= now, self._tickets)):
            del self._tickets[expired]
        self._tickets[digest] = (session_id, expires_at)

    async def consume(self, digest: bytes, now: datetime) -> UUID | None:
        session_id, expires_at = self._tickets.pop(digest, (None, now))
        return session_id if expires_at > now else None
