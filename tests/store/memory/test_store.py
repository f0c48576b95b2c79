"""The special properties of the memory store; test_contract.py has the promises of every store."""

from __future__ import annotations

import asyncio

import pytest

from service.domain.events.query import EventQuery
from service.domain.ports import Transaction
from service.domain.users.query import UserQuery
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.stores import erase


async def test_write_ends_in_the_turn_in_which_it_began() -> None:
    """No other task runs during a write: that is what makes it atomic without a lock."""
    store = MemoryStore(ManualClock())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    for _ in range(5):
        await keep(store, a_user())
    assert turns == before
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)


async def test_write_that_waits_is_a_fault() -> None:
    """A work that waits for something outside of the store is refused and undone, instead of being torn apart."""
    store = MemoryStore(ManualClock())
    user = a_user()

    async def waits(transaction: Transaction) -> None:
        await transaction.users.save(user)
        await transaction.events.append(created(user))
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited"):
        await store.write(waits, BY)
    assert (await store.users.find(user.id)).value is None
    assert (await store.events.read_position()).seq == 0


async def test_cancellation_inside_a_write_undoes_it() -> None:
    """A write that ends early, also by cancellation, leaves no change."""
    store = MemoryStore(ManualClock())
    user = a_user()

    async def cancelled(transaction: Transaction) -> None:
        await transaction.users.save(user)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await store.write(cancelled, BY)
    assert (await store.users.find(user.id)).value is None


async def test_log_is_bounded_by_bytes() -> None:
    """Large events push older ones out before the count does."""
    store = MemoryStore(ManualClock(), keep_events=1_000, keep_bytes=50_000)
    for _ in range(10):
        await keep(store, a_user(name="x" * 10_000))

    page = await store.events.list_page(EventQuery(0, 100))
    assert page.first == 7
    assert [event.seq for event in page.events] == [7, 8, 9, 10]


async def test_everybody_who_asked_is_rung() -> None:
    """Several may listen for commits; each hears each commit."""
    store = MemoryStore(ManualClock())
    heard: list[str] = []
    store.add_commit_listener(lambda _: heard.append("one"))
    store.add_commit_listener(lambda _: heard.append("two"))
    await keep(store, a_user())

    assert heard == ["one", "two"]


async def test_nothing_survives() -> None:
    """Another store knows nothing of this one: its log is another, too."""
    one, other = MemoryStore(ManualClock()), MemoryStore(ManualClock())
    user = a_user()
    await keep(one, user)

    assert (await other.users.find(user.id)).value is None
    assert (await other.events.read_position()).epoch != (await one.events.read_position()).epoch


async def test_search_leaves_others_their_turns() -> None:
    """A search that finds nothing among many users does not block the loop; what it finds is true at its position, whatever is
    written between."""
    store = MemoryStore(ManualClock())

    async def work(transaction: Transaction) -> None:
        await transaction.users.save_many([a_user() for _ in range(10_000)])

    await store.write(work, BY)
    searching = asyncio.create_task(store.users.list_page(UserQuery(10, q="ada")))
    turns = 0
    while not searching.done():
        turns += 1
        if turns == 2:
            await keep(store, a_user(username="ada"))
        await asyncio.sleep(0)
    assert turns >= 5
    assert (await searching).value == []
    assert len((await store.users.list_page(UserQuery(10, q="ada"))).value) == 1


async def test_write_of_many_events_redacts_no_more_than_a_write_of_one() -> None:
    """Copies of a deleted user go a bounded number a write: a batch of an import must not remove all of them at once."""
    store, ada = MemoryStore(ManualClock()), a_user()
    await keep(store, ada)

    async def rename(transaction: Transaction) -> None:
        for _ in range(2_000):
            await transaction.events.append(updated(ada, "name"))

    await store.write(rename, BY)
    await erase(store, ada)

    def copies() -> int:
        return sum(event.user is not None and event.subject == ada.id for event in store._log._events)

    for others in ((a_user() for _ in range(50)), (a_user() for _ in range(1))):
        before = copies()
        await keep(store, *others)
        assert before - copies() == 500
