"""One write, inside the transaction that it shares with others."""

from __future__ import annotations

from collections.abc import Set
from uuid import UUID

from service.domain.audit import AuditSource
from service.store.recording import RecordedAudit, Recording
from service.store.sql.api_tokens import SqlApiTokenWrites
from service.store.sql.events import SqlEventWrites
from service.store.sql.idempotency import SqlIdempotencyWrites
from service.store.sql.mail_tokens import SqlMailTokenWrites
from service.store.sql.mails import SqlMailWrites
from service.store.sql.row_locks import RowLocks
from service.store.sql.runner import StatementRunner
from service.store.sql.second_factors import SqlSecondFactorWrites
from service.store.sql.sessions import SqlSessionWrites
from service.store.sql.users import SqlUserWrites


class SqlTransaction:
    """The view of one write: its own changes, and those of earlier writes of the batch with their versions.

    Args:
        changed: users that works before it in the same transaction have changed.
        locks: of this transaction.
    """

    __slots__ = (
        "api_tokens",
        "audit",
        "connection",
        "events",
        "idempotency",
        "mail_tokens",
        "mails",
        "recording",
        "second_factors",
        "sessions",
        "users",
    )

    def __init__(self, connection: StatementRunner, changed: Set[UUID], locks: RowLocks) -> None:
        self.connection = connection
        self.recording = Recording(AuditSource())
        self.users = SqlUserWrites(connection, changed, locks)
        self.sessions = SqlSessionWrites(connection, locks)
        self.api_tokens = SqlApiTokenWrites(connection)
        self.second_factors = SqlSecondFactorWrites(connection)
        self.mails = SqlMailWrites(connection)
        self.mail_tokens = SqlMailTokenWrites(connection)
        self.events = SqlEventWrites(connection, self.recording, changed)
        self.audit = RecordedAudit(self.recording)
        self.idempotency = SqlIdempotencyWrites(connection)
