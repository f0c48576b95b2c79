"""The audit entry of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.ports import Transaction, TransactionRunner

Exported = Literal["users.exported", "audit.exported"]


@dataclass(slots=True)
class Sent:
    """How much of an export was sent.

    Attributes:
        count: users or entries that were handed to the connection.
        complete: whether that is all of them, the line at the end included.
    """

    count: int = 0
    complete: bool = False


async def record_export(store: TransactionRunner, by: AuditSource, actor: UUID, action: Exported, sent: Sent) -> None:
    """Have the audit keep that the actor exported so much, also where the client left in the middle."""

    async def work(transaction: Transaction) -> None:
        await transaction.audit.record(action, actor, None, {"count": sent.count, "complete": sent.complete})

    await store.write(work, by)
