"""What SQL stores have in common: the questions, in the words of the ports."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from service.domain.audit import KEEP_AUDIT_S, AuditEntry, AuditQuery, AuditSource, place_of
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.events.query import EventPage, EventQuery
from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.domain.ports import Clock, Snapshot, Transaction, Written
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.store.sql import queries, rows, statements
from service.store.sql.batch import Outcome, RetentionPolicy, Work
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.transaction import SqlTransaction

T = TypeVar("T")

_MOST_KNOWN: Final = 10_000
_MOST_WRITTEN: Final = 1_000
_TRIM_AUDIT_EVERY: Final = timedelta(seconds=5)


class SqlStore(ABC):
    """Keeps the promises of `Store` with one set of tables and statements. Each question is one statement: one state."""

    def __init__(
        self, dialect: Dialect, clock: Clock, keep_events: int, keep_s: float, keep_audit_s: float = KEEP_AUDIT_S
    ) -> None:
        self._dialect = dialect
        self._clock = clock
        self._keep_events = keep_events
        self._keep_s = keep_s
        self._keep_audit = timedelta(seconds=keep_audit_s)
        self._audit_trimmed_at = datetime.min.replace(tzinfo=UTC)
        self._told: list[Callable[[Sequence[Event]], None]] = []
        self._users: dict[int, tuple[rows.Row, User]] = {}
        self._written: dict[tuple[str, int], Event] = {}

    @abstractmethod
    async def _find(self, statement: Statement, **given: Any) -> Sequence[rows.Row]:
        """Run a statement that changes nothing."""

    async def _search(self, statement: Statement, **given: Any) -> Sequence[rows.Row]:
        """The same for one that walks through all users."""
        return await self._find(statement, **given)

    @abstractmethod
    async def _carry_out(self, work: Work) -> tuple[Outcome, Position]:
        """Have a work carried out, with what others want written."""

    @abstractmethod
    def stream_users(self) -> AbstractAsyncContextManager[Snapshot[AsyncIterator[Sequence[User]]]]: ...

    def _users_of(self, found: Sequence[rows.Row]) -> list[User]:
        return [rows.user_of(row, self._dialect) for row in found]

    def _kept(self) -> RetentionPolicy:
        """How much of the log and the audit is kept, counted from now."""
        now = self._clock()
        since = now - timedelta(seconds=self._keep_s) if self._keep_s else None
        audit_from = None
        # Not each time: it is one more thing to say, and what is a year old may grow a little older.
        if abs(now - self._audit_trimmed_at) >= _TRIM_AUDIT_EVERY:
            self._audit_trimmed_at = now
            audit_from = place_of(now - self._keep_audit)
        return RetentionPolicy(self._keep_events, since, now, audit_from)

    async def audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        statement, given = queries.audit(query)
        # One condition is an index; of several the others are looked for in it, which may be long.
        is_short = sum(given[name] is not None for name in ("actor", "subject", "action")) < 2
        found = await (self._find if is_short else self._search)(statement, **given)
        return [rows.entry_of(row, self._dialect) for row in found]

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        async def signed(transaction: SqlTransaction) -> T:
            transaction.by = by
            return await work(transaction)

        return await self._write(cast(Work, signed))

    async def _write(self, work: Work) -> Written[Any]:
        outcome, position = await self._carry_out(work)
        if outcome.error is not None:
            raise outcome.error
        self._remember(position.epoch, outcome.events)
        return Written(outcome.value, outcome.events, position)

    def _remember(self, epoch: str, events: Sequence[Event]) -> None:
        """Keep what was just written: who follows the log is about to ask for it, and reading a row takes ten times as long."""
        written = self._written
        for event in events[-_MOST_WRITTEN:]:
            written[epoch, event.seq] = event
        while len(written) > _MOST_WRITTEN:
            del written[next(iter(written))]

    def _tell(self, events: Sequence[Event]) -> None:
        for tell in self._told:
            tell(events)

    def on_commit(self, tell: Callable[[Sequence[Event]], None]) -> None:
        self._told.append(tell)

    async def position(self) -> Position:
        ((epoch, seq, _),) = await self._find(statements.POSITION)
        return Position(epoch, seq)

    async def start_new_epoch(self, epoch: str) -> None:
        async def work(transaction: SqlTransaction) -> None:
            await transaction.connection.run(statements.LEAVE_EPOCH, epoch=epoch, new=new_epoch())

        await self._say(work)

    async def user(self, user_id: UUID) -> Snapshot[User | None]:
        (row,) = await self._find(statements.READ_USER, id=user_id)
        user = None if row[2] is None else self._known(user_id, row[2:])
        return Snapshot(user, Position(row[0], row[1]))

    def _known(self, user_id: UUID, row: rows.Row) -> User:
        """The user in a row; while the row is the same it is the same object, which others know by heart."""
        known = self._users.get(user_id.int)
        if known is not None and known[0] == row:
            return known[1]
        if len(self._users) >= _MOST_KNOWN:
            self._users.clear()
        user = rows.user_of(row, self._dialect)
        self._users[user_id.int] = (row, user)
        return user

    async def users(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        statement, given = queries.users(query)
        # A filter that few users match walks through all of them.
        look = self._search if query.has_filter else self._find
        found = await look(statement, **given)
        users = [rows.user_of(row[2:], self._dialect) for row in found if row[2] is not None]
        return Snapshot(users, Position(found[0][0], found[0][1]))

    async def credentials(self, login: str) -> Credentials | None:
        if "\0" in login:
            return None  # no text with NUL is stored, and PostgreSQL refuses to search for it
        found = await self._find(statements.USER_BY_LOGIN, login=login)
        return rows.credentials_of(found[0], self._dialect) if found else None

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        found = await self._find(statements.SESSION_WITH_USER, id=session_id)
        if not found:
            return None
        session = rows.session_of(found[0], self._dialect)
        if session.expires_at <= self._clock():
            return None
        return session, rows.user_of(found[0][len(statements.SESSION) :], self._dialect)

    async def sessions(self, user_id: UUID) -> Sequence[Session]:
        found = await self._find(statements.SESSIONS_OF, user=user_id)
        now = self._clock()
        sessions = [rows.session_of(row, self._dialect) for row in found]
        return [session for session in sessions if session.expires_at > now]

    async def token(self, digest: bytes) -> tuple[ApiToken, User] | None:
        found = await self._find(statements.TOKEN_WITH_USER, digest=digest)
        if not found:
            return None
        token = rows.token_of(found[0][: len(statements.TOKEN)], self._dialect)
        if not token.lives(self._clock()):
            return None
        return token, rows.user_of(found[0][len(statements.TOKEN) :], self._dialect)

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        return [rows.token_of(row, self._dialect) for row in await self._find(statements.TOKENS_OF, user=user_id)]

    async def tokens_used(self, uses: Mapping[UUID, datetime]) -> None:
        given = [{"token": token_id, "moment": moment} for token_id, moment in uses.items()]

        async def work(transaction: SqlTransaction) -> None:
            await transaction.connection.run_many(statements.TOKEN_USED, given)

        await self._say(work)

    async def events(self, query: EventQuery) -> EventPage:
        statement, given = queries.events(query)
        return queries.page(query, await self._find(statement, **given), self._dialect, self._written)

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        return bool(await self._find(statements.ROLE_CHANGED, subject=user_id, after=after))

    async def secret(self, name: str) -> str:
        async def work(transaction: SqlTransaction) -> str:
            # Who comes first makes it; everybody reads what is there then.
            await transaction.connection.run(statements.OFFER_SECRET, name=name, value=secrets.token_hex(32))
            ((value,),) = await transaction.connection.rows(statements.SECRET, name=name)
            return str(value)

        return await self._say(work)

    async def signing_keys(self) -> Sequence[SigningKey]:
        return [rows.signing_key_of(row, self._dialect) for row in await self._find(statements.SIGNING_KEYS)]

    async def add_signing_key_if_none(self, key: SigningKey) -> None:
        async def work(transaction: SqlTransaction) -> None:
            await transaction.connection.rows(statements.LOCK_LOG)
            if not await transaction.connection.rows(statements.SIGNING_KEYS):
                await transaction.connection.run(statements.KEEP_SIGNING_KEY, **rows.of_signing_key(key))

        await self._say(work)

    async def create_ticket(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._clock()

        async def work(transaction: SqlTransaction) -> None:
            await transaction.connection.run(statements.FORGET_TICKETS, now=now)
            await transaction.connection.run(
                statements.KEEP_TICKET, digest=digest, session_id=session_id, expires_at=expires_at
            )

        await self._say(work)

    async def consume_ticket(self, digest: bytes, now: datetime) -> UUID | None:
        async def work(transaction: SqlTransaction) -> UUID | None:
            found = await transaction.connection.rows(statements.TAKE_TICKET, digest=digest)
            if not found or self._dialect.moment(found[0][1]) <= now:
                return None
            return self._dialect.identity(found[0][0])

        return await self._say(work)

    async def due_mails(self, now: datetime, limit: int) -> Sequence[Mail]:
        found = await self._find(statements.DUE_MAILS, now=now, limit=limit)
        return [rows.mail_of(row, self._dialect) for row in found]

    async def mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = await self._find(statements.MAIL_TOKEN, of_user=presented.user_id, of_purpose=purpose)
        token = rows.mail_token_of(found[0], self._dialect) if found else None
        return token if token is not None and presented.digest in token.digests else None

    async def expired_mail_tokens(self, now: datetime, limit: int) -> Sequence[MailToken]:
        found = await self._find(statements.EXPIRED_MAIL_TOKENS, now=now, limit=limit)
        return [rows.mail_token_of(row, self._dialect) for row in found]

    async def second_factor(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        for *row, left in await self._find(statements.READ_SECOND_FACTOR, user=user_id):
            factor = rows.second_factor_of(row, self._dialect)
            return None if factor is None else (factor, left)
        return None

    async def _say(self, work: Callable[[SqlTransaction], Awaitable[T]]) -> T:
        """Write what is no part of the domain, and of which the audit keeps nothing."""
        return cast(T, (await self._write(cast(Work, work))).value)
