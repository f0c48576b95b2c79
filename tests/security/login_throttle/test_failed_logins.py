"""Failed logins in the audit: few entries, however many there are, and none is lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import pytest

from service.domain.audit import MAINTENANCE, AuditEntry, AuditQuery, AuditSource
from service.domain.errors import FailureKind, Unavailable
from service.domain.ports import Transaction, Written
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.server.tasks import Tasks
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock

T = TypeVar("T")
ADA = uuid.uuid4()


class World(MemoryStore):
    """A store that fails with `error` while there is one, and what tells it."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.error: Exception | None = None
        self.tasks = Tasks()
        self.second = 1000.0
        self.failures = FailedLoginAudit(self, self.tasks, lambda: self.second)

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        if self.error is not None:
            raise self.error
        assert by == MAINTENANCE
        return await super().write(work, by)

    def fail(self, account: UUID | None, client: str = "192.0.2.1", kind: FailureKind = "password") -> None:
        self.failures.count_failed(account, client, kind)

    async def look(self, after_s: float = 0) -> list[tuple[UUID | None, str | None, Any]]:
        """Look after so many seconds; the entries that are written by then, the oldest first."""
        self.second += after_s
        self.failures.write_due()
        await self.tasks.close(5)
        return [(entry.subject, entry.by.client, entry.details) for entry in reversed(await self.told())]

    async def told(self) -> list[AuditEntry]:
        return list(await self.audit.list_page(AuditQuery(limit=10_000, action="login.failed")))


async def test_failures_are_counted_by_account_and_network() -> None:
    """A wrong password or code counts as `failed`, a code as `codes` as well, a throttled attempt as `refused`."""
    world = World()
    world.fail(ADA)
    world.fail(ADA)
    world.fail(ADA, kind="code")
    world.fail(ADA, kind="code")
    world.failures.count_refused(ADA, "192.0.2.1")
    world.fail(ADA, "2001:db8::1")
    world.fail(ADA, "2001:db8::2")
    world.fail(None)

    assert sorted(await world.look(), key=str) == sorted(
        [
            (ADA, "192.0.2.1", {"failed": 4, "codes": 2, "refused": 1}),
            (ADA, "2001:db8::/64", {"failed": 2, "codes": 0, "refused": 0}),
            (None, "192.0.2.1", {"failed": 1, "codes": 0, "refused": 0}),
        ],
        key=str,
    )


async def test_first_is_recorded_at_once_and_others_a_minute_later() -> None:
    """A single failure is visible soon; a stream of them is one entry per minute."""
    world = World()
    assert await world.look() == []
    world.fail(ADA)
    assert len(await world.look(1)) == 1
    for _ in range(100):
        world.fail(ADA)
        assert len(await world.look(0.5)) == 1
    assert (await world.look(10))[1:] == [(ADA, "192.0.2.1", {"failed": 100, "codes": 0, "refused": 0})]
    assert len(await world.look(60)) == 2


async def test_many_share_an_entry() -> None:
    """However many accounts and networks there are, twenty have an entry each, the worst, and the rest one together."""
    world = World()
    for number in range(2_000):
        world.fail(uuid.UUID(int=number), f"10.0.{number // 256}.{number % 256}")
    world.fail(uuid.UUID(int=7), "10.0.0.7")

    told = await world.look()
    assert len(told) == 20 + 1
    assert told[0] == (uuid.UUID(int=7), "10.0.0.7", {"failed": 2, "codes": 0, "refused": 0})
    assert told[-1] == (None, None, {"failed": 2_001 - 21, "codes": 0, "refused": 0, "others": True})


@pytest.mark.parametrize("error", [Unavailable(1), RuntimeError("broken")])
async def test_what_cannot_be_written_is_counted_on(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """While the store is down no count is lost; only unexpected errors are logged."""
    world = World()
    world.error = error
    for number in range(30):
        world.fail(uuid.UUID(int=number))
    with caplog.at_level(logging.INFO):
        assert await world.look() == []
    assert bool(caplog.records) == isinstance(error, RuntimeError)
    world.error = None
    world.fail(uuid.UUID(int=3))

    told = await world.look(60)
    assert sum(details["failed"] for _, _, details in told) == 31


async def test_writing_nothing_writes_nothing() -> None:
    """At a stop without failures there is no write."""
    world = World()
    world.error = RuntimeError("not to be asked")
    await world.failures.write()
    world.fail(ADA)
    world.error = None
    await world.failures.write()
    assert len(await world.told()) == 1
