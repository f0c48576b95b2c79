"""The store in this process's memory: the reference that every other store is measured against."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Final, TypeVar
from uuid import UUID

from service.domain.audit import KEEP_AUDIT_S, AuditSource
from service.domain.events.event import Event
from service.domain.idempotency.claims import IdempotencyStore, StoredResponse
from service.domain.ports import Clock, Transaction, Written
from service.store.memory.api_tokens import MemoryApiTokenReads
from service.store.memory.audit import MemoryAudit, MemoryAuditReads
from service.store.memory.events import MemoryEventReads
from service.store.memory.keys import MemorySecrets, MemorySigningKeys
from service.store.memory.log import MemoryLog
from service.store.memory.mails import MemoryMailReads, MemoryMailTokenReads
from service.store.memory.second_factors import MemorySecondFactorReads
from service.store.memory.sessions import MemorySessionReads, MemoryTickets
from service.store.memory.tables import Tables
from service.store.memory.transaction import MemoryTransaction
from service.store.memory.users import MemoryUserReads
from service.store.run_sync import run_sync

T = TypeVar("T")

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
        self._listeners: list[Callable[[Sequence[Event]], None]] = []
        self._answers: IdempotencyStore[StoredResponse] = IdempotencyStore(_MOST_ANSWERS)
        self.users = MemoryUserReads(self._tables, self._log)
        self.sessions = MemorySessionReads(self._tables, clock)
        self.tickets = MemoryTickets(clock)
        self.api_tokens = MemoryApiTokenReads(self._tables, clock)
        self.second_factors = MemorySecondFactorReads(self._tables)
        self.mails = MemoryMailReads(self._tables)
        self.mail_tokens = MemoryMailTokenReads(self._tables)
        self.events = MemoryEventReads(self._log)
        self.audit = MemoryAuditReads(self._audit)
        self.secrets = MemorySecrets()
        self.signing_keys = MemorySigningKeys()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def is_healthy(self) -> bool:
        return True

    def add_commit_listener(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self._listeners.append(listener)

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        transaction = MemoryTransaction(self._tables, self._log, self._answers, by)
        try:
            value = run_sync(work(transaction))
        except BaseException:
            transaction.undo()
            raise
        # No await from here on: row and event become visible in the same step.
        now = self._clock()
        self._log.hold(transaction.events.holds, now)
        events = tuple(self._commit(event) for event in transaction.recording.events)
        self._log.redact_some()
        self._audit.keep(transaction.recording.entries(events), now)
        written = Written(value, events, self._log.position)
        if transaction.idempotency.claimed is not None:
            claim, render = transaction.idempotency.claimed
            self._answers.keep(claim, render(written))
        self._forget_answers({event.subject for event in events if event.type == "user.deleted"})
        if events:
            for notify in self._listeners:
                notify(events)
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
