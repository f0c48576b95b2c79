"""One write of the memory store."""

from __future__ import annotations

from service.domain.audit import AuditSource
from service.domain.idempotency.claims import IdempotencyStore, StoredResponse
from service.store.memory.api_tokens import MemoryApiTokenWrites
from service.store.memory.changes import Changes
from service.store.memory.events import MemoryEventWrites
from service.store.memory.idempotency import MemoryIdempotencyWrites
from service.store.memory.log import MemoryLog
from service.store.memory.mails import MemoryMailTokenWrites, MemoryMailWrites
from service.store.memory.second_factors import MemorySecondFactorWrites
from service.store.memory.sessions import MemorySessionWrites
from service.store.memory.tables import Tables
from service.store.memory.users import MemoryUserWrites
from service.store.recording import RecordedAudit, Recording


class MemoryTransaction:
    """Changes the tables at once; `undo` takes every change back."""

    __slots__ = (
        "api_tokens",
        "audit",
        "events",
        "idempotency",
        "mail_tokens",
        "mails",
        "recording",
        "second_factors",
        "sessions",
        "undo",
        "users",
    )

    def __init__(
        self, tables: Tables, log: MemoryLog, answers: IdempotencyStore[StoredResponse], by: AuditSource
    ) -> None:
        changes = Changes(tables)
        self.undo = changes.undo
        self.recording = Recording(by)
        self.sessions = MemorySessionWrites(changes)
        self.api_tokens = MemoryApiTokenWrites(changes)
        self.second_factors = MemorySecondFactorWrites(changes)
        self.mails = MemoryMailWrites(changes)
        self.mail_tokens = MemoryMailTokenWrites(changes)
        self.users = MemoryUserWrites(changes, (self.mail_tokens.delete_of_user, self.second_factors.delete))
        self.events = MemoryEventWrites(log, self.recording)
        self.audit = RecordedAudit(self.recording)
        self.idempotency = MemoryIdempotencyWrites(tables, answers)
