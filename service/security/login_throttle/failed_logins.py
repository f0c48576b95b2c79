"""Failed logins, for the audit: counted while they come, and written now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from service.domain.audit import MAINTENANCE, AuditSource
from service.domain.errors import FailureKind, Unavailable
from service.domain.ports import Transaction, TransactionRunner
from service.security.networks import network_of
from service.server.tasks import Tasks

_WRITE_INTERVAL_S: Final = 60.0
# Entries at a time: 30,000 a day, some 10 MB, however many try.
_MOST_ENTRIES: Final = 20
_MOST_COUNTED: Final = 1_000

log = logging.getLogger("roster.logins")


class _Tried(NamedTuple):
    """The key of a count: the account, None for an unknown one, and the network."""

    account: UUID | None
    network: str


@dataclass(slots=True)
class _Count:
    """How often it failed, in how many of these the password was right and the code was not, and how often it was refused
    because it had failed too often."""

    failed: int = 0
    codes: int = 0
    refused: int = 0

    def add(self, other: _Count) -> None:
        self.failed += other.failed
        self.codes += other.codes
        self.refused += other.refused

    @property
    def details(self) -> dict[str, int]:
        return {"failed": self.failed, "codes": self.codes, "refused": self.refused}


class FailedLoginAudit:
    """Counts by account and network, so that password guessing cannot fill the disk.

    The first failure after a quiet minute is written within a second, later ones a minute after the last write. The keys
    with most failures have an entry each, the rest one together. The login name is never stored: people type passwords into
    that field. Counting takes the same time whether the account exists or not.

    Args:
        monotonic: seconds that never go back.
    """

    def __init__(self, store: TransactionRunner, tasks: Tasks, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._tasks = tasks
        self._monotonic = monotonic
        self._counts: dict[_Tried, _Count] = {}
        self._others = _Count()
        self._write_at = -_WRITE_INTERVAL_S
        self._is_writing = False

    def count_failed(self, account: UUID | None, client: str, kind: FailureKind) -> None:
        """Count a wrong password or code.

        Args:
            account: None for an unknown one.
            client: IP address.
        """
        self._count(_Tried(account, network_of(client)), _Count(failed=1, codes=int(kind == "code")))

    def count_refused(self, account: UUID | None, client: str) -> None:
        """Count an attempt that the throttle refused; arguments as `count_failed`."""
        self._count(_Tried(account, network_of(client)), _Count(refused=1))

    def write_due(self) -> None:
        """Start to write what is due. Call it about once a second; it does not wait."""
        if not self._is_writing and self._has_counted and self._monotonic() >= self._write_at:
            _ = self._tasks.start(self.write(), "write failed logins")

    async def write(self) -> None:
        """Write the counts. If that fails, they are kept for the next write."""
        counts, self._counts = self._counts, {}
        others, self._others = self._others, _Count()
        ranked = sorted(counts.items(), key=lambda one: one[1].failed + one[1].refused, reverse=True)
        for _, count in ranked[_MOST_ENTRIES:]:
            others.add(count)
        if not ranked and others == _Count():
            return
        self._is_writing = True
        self._write_at = self._monotonic() + _WRITE_INTERVAL_S
        try:
            await self._store.write(_entries(ranked[:_MOST_ENTRIES], others), MAINTENANCE)
        except BaseException as error:
            for tried, count in ranked[:_MOST_ENTRIES]:
                self._count(tried, count)
            self._others.add(others)
            if not isinstance(error, Exception):
                raise
            if isinstance(error, Unavailable):
                log.debug("cannot write failed logins to the audit: %s", error)
            else:
                log.exception("cannot write failed logins to the audit; will retry")
        finally:
            self._is_writing = False

    async def close(self) -> None:
        """Write what is left; what cannot be written is lost, and the log says so."""
        await self.write()
        if self._has_counted:
            lost = sum(count.failed for count in self._counts.values()) + self._others.failed
            log.warning("failed logins are lost to the audit", extra={"failed": lost})

    @property
    def _has_counted(self) -> bool:
        return bool(self._counts) or self._others != _Count()

    def _count(self, tried: _Tried, count: _Count) -> None:
        known = self._counts.get(tried)
        if known is None:
            known = self._others
            if len(self._counts) < _MOST_COUNTED:
                known = self._counts[tried] = _Count()
        known.add(count)


def _entries(most: Sequence[tuple[_Tried, _Count]], others: _Count) -> Callable[[Transaction], Awaitable[None]]:
    async def work(transaction: Transaction) -> None:
        for tried, count in most:
            await transaction.audit.record(
                "login.failed", None, tried.account, count.details, AuditSource(client=tried.network)
            )
        if others != _Count():
            await transaction.audit.record("login.failed", None, None, {**others.details, "others": True})

    return work
