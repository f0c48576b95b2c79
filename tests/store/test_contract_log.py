"""The promises of every store about its log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EXAMINED_MAX, EventQuery
from service.domain.ports import Store, Transaction
from service.domain.users.user import User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.drawn import examples
from tests.support.stores import Opener, whole_log


@examples(50)
@given(data=st.data(), subjects=st.lists(st.integers(0, 2), max_size=25))
async def test_pages_of_the_log_are_what_was_asked_for(
    opener: Opener, data: st.DataObject, subjects: list[int]
) -> None:
    """Any page of the log is the part of it that was asked for, in order, and says from where to go on."""
    users = [a_user() for _ in range(3)]
    events = [
        (updated if number % 2 else created)(replace(users[who], name=str(number)))
        for number, who in enumerate(subjects)
    ]
    clock = ManualClock()
    async with opener(clock) as store:

        async def work(transaction: Transaction) -> None:
            for event in events:
                await transaction.users.save(cast(User, event.user))
                await transaction.events.append(event)

        await store.write(work, BY)
        log = [event.at(seq) for seq, event in enumerate(events, 1)]
        after = data.draw(st.integers(0, len(log)))
        upto = data.draw(st.none() | st.integers(after, len(log) + 1))
        subject = data.draw(st.none() | st.sampled_from([user.id for user in users]))
        types = data.draw(st.none() | st.sets(st.sampled_from(["user.created", "user.updated"])).map(frozenset))
        limit = data.draw(st.integers(1, 30))
        page = await store.events.list_page(EventQuery(after, limit, upto, subject, types))

        end = len(log) if upto is None else min(upto, len(log))
        wanted = [
            event
            for event in log[after:end]
            if subject in (None, event.subject) and (types is None or event.type in types)
        ]
        assert list(page.events) == wanted[:limit]
        assert page.seen == (end if len(wanted) <= limit else wanted[limit - 1].seq)
        assert page.first == 1
        assert page.position == await store.events.read_position()
        assert await whole_log(store, limit, subject=subject, types=types) == [
            event for event in log if subject in (None, event.subject) and (types is None or event.type in types)
        ]


async def test_log_keeps_its_newest_events(opener: Opener, clock: ManualClock) -> None:
    """At least as many events as promised are held; `first` says where they begin, and from there nothing is missing."""
    async with opener(clock, keep_events=10) as store:
        users = [a_user() for _ in range(35)]
        for user in users:
            await keep(store, user)
        page = await store.events.list_page(EventQuery(0, 1000))

        assert 1 <= page.first <= 26
        assert [event.seq for event in page.events] == list(range(page.first, 36))
        assert (page.seen, page.position.seq) == (35, 35)
        behind = await store.events.list_page(EventQuery(30, 2))
        assert [event.seq for event in behind.events] == [31, 32]
        assert behind.first == page.first
        assert await whole_log(store, subject=users[34].id) == [created(users[34]).at(35)]
        assert (await store.users.find(users[0].id)).value == users[0].at(1)  # a row is not forgotten with its event


async def test_epoch_is_left_once(store: Store) -> None:
    """A process that has seen the end of this epoch begins another one; a later call changes nothing. Events keep
    their seqs."""
    await keep(store, a_user())
    before = await store.events.read_position()
    await asyncio.gather(store.events.start_new_epoch(before.epoch), store.events.start_new_epoch(before.epoch))
    after = await store.events.read_position()
    await store.events.start_new_epoch(before.epoch)

    assert await store.events.read_position() == after
    assert after.epoch != before.epoch
    assert after.seq == 1
    assert [event.seq for event in await whole_log(store)] == [1]
    await keep(store, a_user())
    assert await store.events.read_position() == Position(after.epoch, 2)


async def test_page_with_a_filter_reads_so_many_events_and_goes_on(opener: Opener, clock: ManualClock) -> None:
    """However many events of a caller a filter drops, one page reads `EXAMINED_MAX` of them, and `seen` leads on."""
    async with opener(clock) as store:
        user = a_user()
        await keep(store, user)

        async def work(transaction: Transaction) -> None:
            for _ in range(EXAMINED_MAX):
                await transaction.events.append(Event("user.updated", clock(), None, user.id, changed=("name",)))
            await transaction.events.append(Event("session.ended", clock(), None, user.id))

        await store.write(work, BY)
        wanted = frozenset({"session.ended"})
        for subject in (user.id, None):
            page = await store.events.list_page(EventQuery(0, 10, None, subject, wanted))
            assert (list(page.events), page.seen) == ([], EXAMINED_MAX)
            page = await store.events.list_page(EventQuery(page.seen, 10, None, subject, wanted))
            assert ([event.seq for event in page.events], page.seen) == ([EXAMINED_MAX + 2], EXAMINED_MAX + 2)


async def test_change_of_role_is_known_without_a_walk(store: Store, clock: ManualClock) -> None:
    """Of the user that is asked about, after the seq and not at it; other changes of it and of others do not count."""
    ada, bob = a_user(), a_user()

    async def work(transaction: Transaction) -> None:
        for subject, changed in ((ada, ("name",)), (ada, ("name", "role")), (bob, ("name",))):
            await transaction.events.append(Event("user.updated", clock(), None, subject.id, changed=changed))

    await store.write(work, BY)
    assert [await store.events.has_role_changed(ada.id, seq) for seq in (0, 1, 2, 3)] == [True, True, False, False]
    assert not await store.events.has_role_changed(bob.id, 0)
