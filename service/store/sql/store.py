"""What SQL stores have in common: groups of statements, and writes that share transactions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast

from service.domain.audit import KEEP_AUDIT_S, AuditSource, sequence_at
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.ports import Clock, Snapshot, Transaction, Written
from service.store.sql.api_tokens import SqlApiTokenReads
from service.store.sql.append import RetentionPolicy
from service.store.sql.audit import SqlAuditReads
from service.store.sql.batch import Work
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.events import SqlEventReads
from service.store.sql.keys import SqlSecrets, SqlSigningKeys
from service.store.sql.mail_tokens import SqlMailTokenReads
from service.store.sql.mails import SqlMailReads
from service.store.sql.results import WriteSuccess
from service.store.sql.row_mapper import Row
from service.store.sql.runner import StatementRunner
from service.store.sql.second_factors import SqlSecondFactorReads
from service.store.sql.sessions import SqlSessionReads
from service.store.sql.tickets import SqlTickets
from service.store.sql.transaction import SqlTransaction
from service.store.sql.users import SqlUserReads

T = TypeVar("T")

_TRIM_AUDIT_EVERY: Final = timedelta(seconds=5)


class SqlStore(ABC):
    """Keeps the promises of `Store` with one set of tables and statements; it is the `SqlDatabase` of its own groups."""

    def __init__(
        self, dialect: Dialect, clock: Clock, keep_events: int, keep_s: float, keep_audit_s: float = KEEP_AUDIT_S
    ) -> None:
        self.dialect = dialect
        self.now = clock
        self._keep_events = keep_events
        self._keep_s = keep_s
        self._keep_audit = timedelta(seconds=keep_audit_s)
        self._audit_trimmed_at = datetime.min.replace(tzinfo=UTC)
        self._listeners: list[Callable[[Sequence[Event]], None]] = []
        self.users = SqlUserReads(self)
        self.sessions = SqlSessionReads(self)
        self.tickets = SqlTickets(self)
        self.api_tokens = SqlApiTokenReads(self)
        self.second_factors = SqlSecondFactorReads(self)
        self.mails = SqlMailReads(self)
        self.mail_tokens = SqlMailTokenReads(self)
        self.events = SqlEventReads(self)
        self.audit = SqlAuditReads(self)
        self.secrets = SqlSecrets(self)
        self.signing_keys = SqlSigningKeys(self)

    @abstractmethod
    async def find(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """Run a statement that changes nothing."""

    async def search(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """The same for one that may walk through a whole table."""
        return await self.find(statement, **given)

    @abstractmethod
    def stream(self, statement: Statement) -> AbstractAsyncContextManager[Snapshot[AsyncIterator[Sequence[Row]]]]:
        """Run a statement without values, and read its rows in pages, as they are at one position of the log."""

    @abstractmethod
    async def _run(self, work: Work) -> tuple[WriteSuccess, Position]:
        """Run a work together with others that wait; raises its error."""

    def _retention(self) -> RetentionPolicy:
        """How much of the log and the audit is retained, counted from now."""
        now = self.now()
        since = now - timedelta(seconds=self._keep_s) if self._keep_s else None
        audit_from = None
        # Not each time: it is one more thing to say, and what is a year old may grow a little older.
        if abs(now - self._audit_trimmed_at) >= _TRIM_AUDIT_EVERY:
            self._audit_trimmed_at = now
            audit_from = sequence_at(now - self._keep_audit)
        return RetentionPolicy(self._keep_events, since, now, audit_from)

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        async def signed(transaction: SqlTransaction) -> T:
            transaction.recording.by = by
            return await work(transaction)

        return await self._write(signed)

    async def execute(self, work: Callable[[StatementRunner], Awaitable[T]]) -> T:
        """Run `work` in a transaction, as a write that appends no events and leaves no audit entry."""

        async def apart(transaction: SqlTransaction) -> T:
            return await work(transaction.connection)

        return cast(T, (await self._write(apart)).value)

    async def _write(self, work: Work) -> Written[Any]:
        done, position = await self._run(work)
        self.events.remember(position.epoch, done.events)
        return Written(done.value, done.events, position)

    def _notify(self, events: Sequence[Event]) -> None:
        for notify in self._listeners:
            notify(events)

    def add_commit_listener(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self._listeners.append(listener)
