"""The store in this process's memory: the reference that every other store is measured against."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import TypeVar
from uuid import UUID

from service.domain.errors import Taken
from service.domain.events import Event
from service.domain.ports import Clock, EventPage, EventQuery, Snapshot, Transaction, UserQuery, Written
from service.domain.positions import Position
from service.domain.sessions import Session
from service.domain.users import Credentials, User, sort_key
from service.store.memory_log import MemoryLog

T = TypeVar("T")

_Key = tuple[str, UUID]


class MemoryStore:
    """Keeps the promises of `Store` for one process, and forgets everything when that ends."""

    def __init__(self, clock: Clock, *, keep_events: int = 100_000, keep_bytes: int = 64 << 20) -> None:
        self._clock = clock
        self._log = MemoryLog(keep_events, keep_bytes)
        self._tables = Tables()
        self._rings: list[Callable[[], None]] = []
        self._tickets: dict[bytes, tuple[UUID, datetime]] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    def on_commit(self, ring: Callable[[], None]) -> None:
        self._rings.append(ring)

    async def position(self) -> Position:
        return self._log.position

    async def user(self, user_id: UUID) -> Snapshot[User | None]:
        return Snapshot(self._tables.users.get(user_id), self._log.position)

    async def users(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        return Snapshot(list(islice(self._tables.select(query), query.limit)), self._log.position)

    async def credentials(self, login: str) -> Credentials | None:
        user_id = self._tables.by_email.get(login) or self._tables.by_username.get(login)
        return None if user_id is None else self._tables.credentials(user_id)

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        session = self._tables.sessions.get(session_id)
        if session is None or session.expires_at <= self._clock():
            return None
        user = self._tables.users.get(session.user_id)
        return None if user is None else (session, user)

    async def events(self, query: EventQuery) -> EventPage:
        return self._log.page(query)

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> Written[T]:
        transaction = MemoryTransaction(self._tables)
        try:
            value = _run(work(transaction))
        except BaseException:
            transaction.undo()
            raise
        # No await from here on: row and event become visible in the same step.
        events = tuple(self._commit(event) for event in transaction.events)
        if events:
            for ring in self._rings:
                ring()
        return Written(value, events, self._log.position)

    def _commit(self, event: Event) -> Event:
        event = self._log.append(event)
        if event.type == "user.deleted":
            self._log.redact(event.subject)
        elif event.user is not None and event.subject in self._tables.users:  # the same write may have deleted it since
            self._tables.users[event.subject] = event.user
        return event

    async def keep_ticket(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._clock()
        # All tickets live equally long: the oldest come first, and the first that still lives ends the search.
        expired = list(takewhile(lambda kept: self._tickets[kept][1] <= now, self._tickets))
        for kept in expired:
            del self._tickets[kept]
        self._tickets[digest] = (session_id, expires_at)

    async def take_ticket(self, digest: bytes, now: datetime) -> UUID | None:
        session_id, expires_at = self._tickets.pop(digest, (None, now))
        return session_id if expires_at > now else None


class Tables:
    """Rows and their indexes. Sessions stand in the order in which they were made."""

    def __init__(self) -> None:
        self.users: dict[UUID, User] = {}
        self.by_username: dict[str, UUID] = {}
        self.by_email: dict[str, UUID] = {}
        self.passwords: dict[UUID, str] = {}
        self.sessions: dict[UUID, Session] = {}
        self.sessions_of: dict[UUID, set[UUID]] = {}
        self.active_admins = 0
        self._sorted: dict[str, list[_Key]] = {"created_at": [], "username": []}

    def credentials(self, user_id: UUID) -> Credentials | None:
        user = self.users.get(user_id)
        return None if user is None else Credentials(user, self.passwords.get(user_id))

    def set_user(self, user: User) -> None:
        for column, index in (("username", self.by_username), ("email", self.by_email)):
            index[getattr(user, column)] = user.id
        for column, keys in self._sorted.items():
            insort(keys, (sort_key(user, column), user.id))
        self.active_admins += user.is_active_admin
        self.users[user.id] = user

    def drop_user(self, user_id: UUID) -> User | None:
        user = self.users.pop(user_id, None)
        if user is not None:
            self.active_admins -= user.is_active_admin
            del self.by_username[user.username], self.by_email[user.email]
            for column, keys in self._sorted.items():
                del keys[bisect_left(keys, (sort_key(user, column), user.id))]
        return user

    def set_session(self, session: Session) -> None:
        self.sessions[session.id] = session
        self.sessions_of.setdefault(session.user_id, set()).add(session.id)

    def drop_session(self, session_id: UUID) -> Session | None:
        session = self.sessions.pop(session_id, None)
        if session is not None:
            of_user = self.sessions_of[session.user_id]
            of_user.discard(session_id)
            if not of_user:
                del self.sessions_of[session.user_id]
        return session

    def select(self, query: UserQuery) -> map[User] | filter[User]:
        keys = self._sorted[query.sort.removeprefix("-")]
        if query.sort.startswith("-"):
            end = len(keys) if query.after is None else bisect_left(keys, query.after)
            places = range(end - 1, -1, -1)
        else:
            places = range(0 if query.after is None else bisect_right(keys, query.after), len(keys))
        return filter(lambda user: _matches(user, query), (self.users[keys[place][1]] for place in places))


class MemoryTransaction:
    """Changes the tables at once and remembers how to take each step back."""

    def __init__(self, tables: Tables) -> None:
        self.events: list[Event] = []
        self._tables = tables
        self._undo: list[Callable[[], object]] = []

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()

    async def user(self, user_id: UUID) -> User | None:
        return self._tables.users.get(user_id)

    async def credentials(self, user_id: UUID) -> Credentials | None:
        return self._tables.credentials(user_id)

    async def active_admins(self) -> int:
        return self._tables.active_admins

    async def session(self, session_id: UUID) -> Session | None:
        return self._tables.sessions.get(session_id)

    async def sessions_of(self, user_id: UUID) -> Sequence[Session]:
        sessions = (self._tables.sessions[session_id] for session_id in self._tables.sessions_of.get(user_id, ()))
        return sorted(sessions, key=lambda session: (session.created_at, session.id))

    async def put_user(self, user: User) -> None:
        tables = self._tables
        taken = [
            column
            for column, index in (("username", tables.by_username), ("email", tables.by_email))
            if index.get(getattr(user, column), user.id) != user.id
        ]
        if taken:
            raise Taken(*taken)
        await self._drop_user(user.id)
        tables.set_user(user)
        self._undo.append(lambda: tables.drop_user(user.id))

    async def put_password(self, user_id: UUID, password_hash: str) -> None:
        passwords = self._tables.passwords
        before = passwords.get(user_id)
        passwords[user_id] = password_hash
        self._undo.append(lambda: passwords.pop(user_id) if before is None else passwords.update({user_id: before}))

    async def delete_user(self, user_id: UUID) -> None:
        passwords = self._tables.passwords
        before = passwords.pop(user_id, None)
        if before is not None:
            self._undo.append(lambda: passwords.update({user_id: before}))
        await self._drop_user(user_id)

    async def _drop_user(self, user_id: UUID) -> None:
        before = self._tables.drop_user(user_id)
        if before is not None:
            self._undo.append(lambda: self._tables.set_user(before))

    async def put_session(self, session: Session) -> None:
        tables = self._tables
        before = tables.sessions.get(session.id)
        tables.set_session(session)
        self._undo.append(lambda: tables.set_session(before) if before else tables.drop_session(session.id))
        if before is None:
            self._forget_expired(session.created_at)

    def _forget_expired(self, now: datetime) -> None:
        # All sessions live equally long, so the first that is still valid ends the search.
        expired = []
        for session in self._tables.sessions.values():
            if session.expires_at > now:
                break
            expired.append(session.id)
        for session_id in expired:
            self._tables.drop_session(session_id)

    async def delete_session(self, session_id: UUID) -> None:
        before = self._tables.drop_session(session_id)
        if before is not None:
            self._undo.append(lambda: self._tables.set_session(before))

    async def append(self, event: Event) -> None:
        self.events.append(event)


def _matches(user: User, query: UserQuery) -> bool:
    if query.role not in (None, user.role) or query.active not in (None, user.active):
        return False
    if query.q is None:
        return True
    needle = query.q.casefold()
    return needle in user.username or needle in user.email.casefold() or needle in user.name.casefold()


def _run(work: Awaitable[T]) -> T:
    """Run `work` to its end in this very step of the loop: that is what makes a transaction here atomic."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("a transaction on the memory store waited for something outside of it")
