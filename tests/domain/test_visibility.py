"""Whether what a user may read has changed."""

from __future__ import annotations

from uuid import UUID

from service.domain.events.event import Event
from service.domain.events.visibility import changed_since
from service.domain.ports import Transaction
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY

ADA, BOB = UUID(int=1), UUID(int=2)


async def test_change_of_role_is_found_however_far_behind() -> None:
    """Only the user's own events after the position count; pages of other changes do not hide it."""
    clock = ManualClock()
    store = MemoryStore(clock)

    async def work(transaction: Transaction) -> None:
        for number in range(400):
            changed = ("role",) if number == 300 else ("name",)
            await transaction.events.append(
                Event("user.updated", clock(), None, (ADA, BOB)[number % 2], changed=changed)
            )

    await store.write(work, BY)
    assert [await changed_since(store, ADA, seq) for seq in (0, 299, 300, 301, 400)] == [True, True, True, False, False]
    assert not await changed_since(store, BOB, 0)
