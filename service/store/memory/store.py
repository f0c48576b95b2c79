"""The store in this process's memory: the reference that every other store is measured against."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Final, TypeVar
from uuid import UUID

from service.domain.audit import KEEP_AUDIT_S, AuditEntry, AuditQuery, AuditSource
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.events.query import EventPage, EventQuery
from service.domain.idempotency.claims import IdempotencyStore, StoredResponse
from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.domain.ports import Clock, Snapshot, Transaction, Written
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.store.memory.audit import MemoryAudit
from service.store.memory.log import MemoryLog
from service.store.memory.tables import Tables, matches
from service.store.memory.transaction import MemoryTransaction
from service.store.run_sync import run_sync

T = TypeVar("T")

_PAGE: Final = 500
_TURN: Final = 2_000  # users that a search looks at, which takes about a millisecond, before others have their turn

_MOST_ANSWERS: Final = 10_000  # about 15 MB


class MemoryStore:
    """Keeps the promises of `Store` for one process, and forgets everything when that ends."""

    def __init__(
        self,
        clock: Clock,
        *,
        keep_events: int = 100_000,
        keep_bytes: int = 64 << 20,
        keep_audit_s: float = KEEP_AUDIT_S,
    ) -> None:
        self._clock = clock
        self._log = MemoryLog(keep_events, keep_bytes)
        self._audit = MemoryAudit(keep_audit_s)
        self._tables = Tables()
        self._told: list[Callable[[Sequence[Event]], None]] = []
        self._secrets: dict[str, str] = {}
        self._signing_keys: list[SigningKey] = []
        self._tickets: dict[bytes, tuple[UUID, datetime]] = {}
        self._answers: IdempotencyStore[StoredResponse] = IdempotencyStore(_MOST_ANSWERS)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    async def secret(self, name: str) -> str:
        return self._secrets.setdefault(name, secrets.token_hex(32))

    async def signing_keys(self) -> Sequence[SigningKey]:
        return list(self._signing_keys)

    async def add_signing_key_if_none(self, key: SigningKey) -> None:
        if not self._signing_keys:
            self._signing_keys.append(key)

    def on_commit(self, tell: Callable[[Sequence[Event]], None]) -> None:
        self._told.append(tell)

    async def position(self) -> Position:
        return self._log.position

    async def start_new_epoch(self, epoch: str) -> None:
        if self._log.position.epoch == epoch:
            self._log.position = Position(new_epoch(), self._log.position.seq)

    async def user(self, user_id: UUID) -> Snapshot[User | None]:
        return Snapshot(self._tables.users.get(user_id.int), self._log.position)

    async def users(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        position = self._log.position
        if not query.has_filter:
            return Snapshot(self._tables.first(query), position)
        found: list[User] = []
        for examined, user in enumerate(self._tables.walk(query), 1):
            if matches(user, query):
                found.append(user)
                if len(found) == query.limit:
                    break
            if not examined % _TURN:
                await asyncio.sleep(0)
        return Snapshot(found, position)

    @asynccontextmanager
    async def stream_users(self) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[User]]]]:
        # Users never change, others take their place: a list of them is a snapshot.
        users = list(self._tables.users.values())

        async def pages() -> AsyncIterator[Sequence[User]]:
            for start in range(0, len(users), _PAGE):
                yield users[start : start + _PAGE]

        yield Snapshot(pages(), self._log.position)

    async def credentials(self, login: str) -> Credentials | None:
        user_id = self._tables.by_email.get(login) or self._tables.by_username.get(login)
        return None if user_id is None else self._tables.credentials(user_id)

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        session = self._tables.sessions.get(session_id)
        if session is None or session.expires_at <= self._clock():
            return None
        user = self._tables.users.get(session.user_id.int)
        return None if user is None else (session, user)

    async def sessions(self, user_id: UUID) -> Sequence[Session]:
        now = self._clock()
        return [session for session in self._tables.sessions.of(user_id) if session.expires_at > now]

    async def token(self, digest: bytes) -> tuple[ApiToken, User] | None:
        token_id = self._tables.by_digest.get(digest)
        token = None if token_id is None else self._tables.tokens.get(token_id)
        if token is None or not token.lives(self._clock()):
            return None
        user = self._tables.users.get(token.user_id.int)
        return None if user is None else (token, user)

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        return self._tables.tokens.of(user_id)

    async def tokens_used(self, uses: Mapping[UUID, datetime]) -> None:
        for token_id, moment in uses.items():
            token = self._tables.tokens.get(token_id)
            if token is not None and (token.last_used_at is None or token.last_used_at < moment):
                self._tables.set_token(replace(token, last_used_at=moment))

    async def events(self, query: EventQuery) -> EventPage:
        return self._log.page(query)

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        return self._log.has_role_changed(user_id, after)

    async def audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        return self._audit.page(query)

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        transaction = MemoryTransaction(self._tables, self._log, self._answers, by)
        try:
            value = run_sync(work(transaction))
        except BaseException:
            transaction.undo()
            raise
        # No await from here on: row and event become visible in the same step.
        now = self._clock()
        self._log.hold(transaction.holds, now)
        events = tuple(self._commit(event) for event in transaction.events)
        self._log.redact_some()
        self._audit.keep(transaction.entries(events), now)
        written = Written(value, events, self._log.position)
        if transaction.claimed is not None:
            claim, render = transaction.claimed
            self._answers.keep(claim, render(written))
        self._forget_answers({event.subject for event in events if event.type == "user.deleted"})
        if events:
            for tell in self._told:
                tell(events)
        return written

    def _commit(self, event: Event) -> Event:
        event = self._log.append(event)
        if event.type == "user.deleted":
            self._log.redact(event.subject)
        elif (
            event.user is not None and event.subject.int in self._tables.users
        ):  # the same write may have deleted it since
            self._tables.users[event.subject.int] = event.user
        return event

    def _forget_answers(self, deleted: Set[UUID]) -> None:
        if deleted and len(self._answers):
            self._answers.empty(lambda answer: answer.subject in deleted)

    async def create_ticket(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._clock()
        # All tickets live equally long: the oldest come first, and the first that still lives ends the search.
        expired = list(takewhile(lambda kept: self._tickets[kept][1] <= now, self._tickets))
        for kept in expired:
            del self._tickets[kept]
        self._tickets[digest] = (session_id, expires_at)

    async def consume_ticket(self, digest: bytes, now: datetime) -> UUID | None:
        session_id, expires_at = self._tickets.pop(digest, (None, now))
        return session_id if expires_at > now else None

    async def due_mails(self, now: datetime, limit: int) -> Sequence[Mail]:
        due = [mail for mail in self._tables.mails.values() if mail.due_at <= now]
        return sorted(due, key=lambda mail: mail.due_at)[:limit]

    async def mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        return self._tables.mail_token(purpose, presented)

    async def expired_mail_tokens(self, now: datetime, limit: int) -> Sequence[MailToken]:
        expired = [token for token in self._tables.mail_tokens.values() if token.expires_at <= now]
        return sorted(expired, key=lambda token: token.expires_at)[:limit]

    async def second_factor(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        factor = self._tables.second_factors.get(user_id)
        return None if factor is None else (factor, len(self._tables.recovery_codes.get(user_id, ())))
