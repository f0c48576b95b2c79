"""Which lock of a transaction may wait for other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.store.sql.dialects import LockingSelect
from service.store.sql.errors import Postponed
from service.store.sql.row_mapper import Row
from service.store.sql.runner import StatementRunner


class RowLocks:
    """Only the first lock of a transaction may wait.

    A transaction that waits for a row while it holds others can be waited for in turn. PostgreSQL notices such a circle after a
    second, in which all writes of both processes wait. So later locks skip rows that another process has locked, and the work
    that needs such a row is postponed: it comes first in the next transaction.

    Attributes:
        may_wait: whether no lock was taken yet.
    """

    __slots__ = ("may_wait",)

    def __init__(self) -> None:
        self.may_wait = True

    def take(self) -> bool:
        """Whether the lock that is about to be taken may wait."""
        may_wait, self.may_wait = self.may_wait, False
        return may_wait


async def lock_rows(connection: StatementRunner, locks: RowLocks, select: LockingSelect, **given: Any) -> Sequence[Row]:
    """Read rows that are about to be changed, and lock them where the database has other writers.

    Raises `Postponed` where another process has locked one of them, and this lock may not wait.
    """
    if not connection.dialect.locks_rows:
        return await connection.rows(select.plain, **given)
    if locks.take():
        return await connection.rows(select.waiting, **given)
    found = await connection.rows(select.skipping, **given)
    # A row that is not found may not exist, or be locked: only a look without a lock can tell.
    if not select.finds_one or not found:
        there = await connection.rows(select.plain, **given)
        if len(there) > len(found):
            raise Postponed()
    return found
