"""The promises of every store about many users at once: one write, an export at one position, and the log meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.events.query import EventQuery
from service.domain.ports import Store, Transaction
from service.domain.users.user import Credentials, User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep
from tests.support.drawn import examples
from tests.support.stores import Broken, Opener, ask, erase, whole_log


async def keep_at_once(store: Store, *users: User) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.users.save_many(users)
        for user in users:
            await transaction.events.append(created(user))

    await store.write(work, BY)


async def first_kept(store: Store) -> int:
    """The lowest seq that the log still holds."""
    return (await store.events.list_page(EventQuery(0, 1))).first


async def hold(store: Store, name: uuid.UUID, clock: ManualClock, seconds: float) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.events.retain(name, clock() + timedelta(seconds=seconds))

    await store.write(work, BY)


# In


async def test_many_users_are_put_as_each_would_be(store: Store) -> None:
    """Users that are put together are there, each at the version of its event, new ones and those that were there."""
    old = a_user()
    await keep(store, old)
    users = [replace(old, name="Ada"), *(a_user() for _ in range(499))]
    await keep_at_once(store, *users)

    expected = [user.at(seq) for seq, user in enumerate(users, 2)]
    assert [(await store.users.find(user.id)).value for user in users] == expected
    assert await whole_log(store) == [created(old).at(1), *(created(user).at(user.version) for user in expected)]


async def test_names_move_on_from_row_to_row(store: Store) -> None:
    """Rows are put in their order: a name that one gives up is free for the next."""
    ada, bob = a_user(username="ada"), a_user(username="bob")
    await keep(store, ada, bob)
    await keep_at_once(store, replace(ada, username="ada2"), replace(bob, username="ada"), a_user(username="bob"))

    held = [await store.users.find_by_login(name) for name in ("ada2", "ada", "bob")]
    assert [credentials and credentials.user.username for credentials in held] == ["ada2", "ada", "bob"]


async def test_no_users_and_no_passwords_are_nothing(store: Store) -> None:
    """Putting none changes nothing."""

    async def work(transaction: Transaction) -> Sequence[Credentials]:
        await transaction.users.save_many([])
        await transaction.users.set_passwords({})
        return await transaction.users.find_by_identity([], [], [])

    assert await ask(store, work) == []


async def test_many_passwords_are_kept(store: Store) -> None:
    """Hashes are kept for the users they name; others keep theirs."""
    users = [a_user() for _ in range(3)]
    await keep(store, *users)

    async def work(transaction: Transaction) -> None:
        await transaction.users.set_passwords({users[0].id: "one", users[1].id: "two"})

    await store.write(work, BY)
    kept = [await store.users.find_by_login(user.username) for user in users]
    assert [credentials and credentials.password_hash for credentials in kept] == ["one", "two", None]


@examples(40)
@given(
    ids=st.sets(st.integers(0, 5)), usernames=st.sets(st.integers(0, 5)), emails=st.sets(st.integers(0, 5))
)  # 4 and 5 belong to no user
async def test_holders_are_everybody_who_has_one_of_the_names(
    opener: Opener, ids: set[int], usernames: set[int], emails: set[int]
) -> None:
    """Users with one of the ids, usernames or addresses are found, once, with their password, and no others."""
    users = [a_user(username=f"name{number}", email=f"mail{number}@example.com") for number in range(4)]
    async with opener(ManualClock()) as store:
        await keep(store, *users)

        async def work(transaction: Transaction) -> Sequence[Credentials]:
            await transaction.users.set_passwords({users[0].id: "hash"})
            return await transaction.users.find_by_identity(
                [users[number].id if number < 4 else uuid.uuid4() for number in ids],
                [f"name{number}" for number in usernames],
                [f"mail{number}@example.com" for number in emails],
            )

        found = await ask(store, work)

    assert sorted(credentials.user.username for credentials in found) == sorted(
        f"name{number}" for number in ids | usernames | emails if number < 4
    )
    assert all(found.password_hash == ("hash" if found.user.username == "name0" else None) for found in found)
    assert {found.user.version for found in found} <= {1, 2, 3, 4}


async def test_holders_wait_for_versions(store: Store) -> None:
    """A user whom another write has changed meanwhile is found as it was committed, with its version."""
    users = [a_user(username=f"name{number}") for number in range(20)]

    async def look(number: int) -> int:
        async def work(transaction: Transaction) -> Sequence[Credentials]:
            return await transaction.users.find_by_identity([], [f"name{number}"], [])

        (found,) = await ask(store, work)
        return found.user.version

    writes = [asyncio.create_task(keep(store, user)) for user in users]
    looks = [asyncio.create_task(look(number)) for number in range(20)]
    await asyncio.gather(*writes)
    assert await asyncio.gather(*looks) == [
        user.version for user in [(await store.users.find(user.id)).value for user in users] if user is not None
    ]


# Out


async def test_users_are_streamed_as_of_one_position(store: Store) -> None:
    """All users come in pages, as they are at the position that comes with them, whatever is written meanwhile."""
    users = [a_user() for _ in range(1_234)]
    await keep_at_once(store, *users)
    found: list[User] = []
    async with store.users.stream_all() as (pages, position):
        async for page in pages:
            found += page
            if len(found) == len(page):
                await keep(store, a_user())
                await keep(store, replace(users[-1], name="changed meanwhile"))
                await erase(store, users[-2])

    assert position.seq == 1_234
    assert sorted(found, key=lambda user: user.version) == [user.at(seq) for seq, user in enumerate(users, 1)]
    assert (await store.events.read_position()).seq == 1_237


async def test_who_stops_reading_leaves_nothing_behind(store: Store) -> None:
    """Leaving early releases the snapshot; the next one sees the present state."""
    await keep_at_once(store, *(a_user() for _ in range(1_000)))
    async with store.users.stream_all() as (pages, _):
        async for _ in pages:
            break
    await keep(store, a_user())
    async with store.users.stream_all() as (pages, position):
        assert sum([len(page) async for page in pages]) == 1_001
    assert position == await store.events.read_position()


# The log meanwhile


async def test_held_log_keeps_what_comes_behind(opener: Opener, clock: ManualClock) -> None:
    """While a hold exists no event after its start is trimmed; afterwards they are."""
    async with opener(clock, keep_events=10) as store:
        await keep(store, *(a_user() for _ in range(50)))
        name = uuid.uuid4()
        await hold(store, name, clock, 60)
        for _ in range(30):
            await keep(store, a_user())
        assert await first_kept(store) <= 51
        assert len([event for event in await whole_log(store) if event.seq > 50]) == 30

        await hold(store, name, clock, 5)  # moves the end, and not the beginning
        clock.advance(4)
        await keep(store, a_user())
        assert await first_kept(store) <= 51
        clock.advance(2)
        for _ in range(20):
            await keep(store, a_user())
        assert await first_kept(store) > 51
        seqs = [event.seq for event in await whole_log(store)]
        assert all(after == before + 1 for before, after in pairwise(seqs))
        assert seqs[-1] == 101


async def test_log_is_held_from_the_earliest_place(opener: Opener, clock: ManualClock) -> None:
    """Of several who hold the log, the one who began first counts, until it ends."""
    async with opener(clock, keep_events=5) as store:
        first, second = uuid.uuid4(), uuid.uuid4()
        await hold(store, first, clock, 10)
        await keep(store, *(a_user() for _ in range(20)))
        await hold(store, second, clock, 60)
        for _ in range(10):
            await keep(store, a_user())
        assert await first_kept(store) == 1

        clock.advance(11)
        await keep(store, a_user())
        assert await first_kept(store) == 21


async def test_failed_write_holds_nothing(opener: Opener, clock: ManualClock) -> None:
    """A write that fails leaves the log as free as it was."""

    async def work(transaction: Transaction) -> None:
        await transaction.events.retain(uuid.uuid4(), clock() + timedelta(hours=1))
        raise Broken

    async with opener(clock, keep_events=5) as store:
        with pytest.raises(Broken):
            await store.write(work, BY)
        for _ in range(30):
            await keep(store, a_user())
        assert await first_kept(store) > 1
