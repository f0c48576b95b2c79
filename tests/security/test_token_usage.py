"""When API tokens were last used: seldom written, never waited for."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import pytest

from service.domain.errors import Unavailable
from service.security import token_usage as module
from service.security.token_usage import TokenUsageRecorder
from service.server.tasks import Tasks
from service.store.memory.api_tokens import MemoryApiTokenReads
from service.store.memory.store import MemoryStore
from service.store.memory.tables import Tables
from tests.support.clock import ManualClock
from tests.support.wait import until


class RecordedUses(MemoryApiTokenReads):
    """Records the uses; `go_on` keeps it waiting, and `error` is its answer."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(Tables(), clock)
        self.told: list[dict[UUID, datetime]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None

    async def record_uses(self, uses: Mapping[UUID, datetime]) -> None:
        self.told.append(dict(uses))
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.tokens = RecordedUses(self.clock)
        self.store.api_tokens = self.tokens
        self.tasks = Tasks()
        self.second = 0.0
        self.uses = TokenUsageRecorder(self.store, self.clock, self.tasks, lambda: self.second)

    async def look(self, second: float) -> int:
        """Look at that second; how often the store was written by then."""
        self.second = second
        self.uses.write_due()
        await self.tasks.close(5)
        return len(self.tokens.told)


A, B = uuid.uuid4(), uuid.uuid4()


async def test_first_use_is_stored_at_the_next_flush() -> None:
    """Whatever was used since the look before, in one write, with the moment of its first use."""
    world = World()
    first = world.clock()
    world.uses.note(A)
    world.clock.advance(0.5)
    world.uses.note(A)
    world.uses.note(B)
    await world.look(1)

    assert world.tokens.told == [{A: first, B: world.clock()}]


async def test_use_is_stored_once_a_minute_at_most() -> None:
    """A thousand uses a second cost one write a minute; none cost none."""
    world = World()
    told = []
    for second in range(181):
        for _ in range(10):
            world.uses.note(A)
        told.append(await world.look(second))

    assert [told[second] for second in (0, 59, 60, 119, 120, 180)] == [1, 1, 1, 2, 2, 3]
    assert await world.look(1000) == 3


async def test_slow_store_gets_one_write_at_a_time() -> None:
    """While one write waits no other begins, and what is used meanwhile comes with the next."""
    world = World()
    world.tokens.go_on.clear()
    world.uses.note(A)
    world.uses.write_due()
    await until(lambda: len(world.tokens.told) == 1)
    world.uses.note(B)
    world.uses.write_due()
    assert len(world.tokens.told) == 1
    world.tokens.go_on.set()
    await world.tasks.close(5)

    await world.look(1)
    assert [set(told) for told in world.tokens.told] == [{A}, {B}]


@pytest.mark.parametrize(("error", "lines"), [(Unavailable(), 0), (RuntimeError("broken"), 1)])
async def test_failing_store_affects_no_request(caplog: pytest.LogCaptureFixture, error: Exception, lines: int) -> None:
    """Uses that cannot be written are lost; a store that is down is not logged, other errors are, and the next use is written."""
    world = World()
    world.tokens.error = error
    world.uses.note(A)
    with caplog.at_level(logging.INFO, "roster.tokens"):
        await world.look(1)
    assert len(caplog.records) == lines
    world.tokens.error = None
    world.uses.note(B)

    assert await world.look(2) == 2


async def test_what_is_noted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over so many tokens between two looks nothing more is noted."""
    monkeypatch.setattr(module, "_MOST_NOTED", 2)
    world = World()
    for _ in range(5):
        world.uses.note(uuid.uuid4())
    await world.look(1)

    assert [len(told) for told in world.tokens.told] == [2]
