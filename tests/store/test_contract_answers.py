"""The promises of every store about requests with a key: one effect, one response, stored together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from service.domain.errors import AlreadyExists, IdempotencyKeyReused, InvalidToken, ResponseExpired
from service.domain.events.query import EventQuery
from service.domain.idempotency.claims import Claim, IdempotencyKeys, StoredResponse
from service.domain.idempotency.run import run_idempotent
from service.domain.ports import Store, Transaction, TransactionRunner, Written
from service.domain.users.user import User
from service.store.memory.store import MemoryStore
from service.store.sql.dialects import Statement
from service.store.sql.tables import idempotency_keys
from service.store.sql.transaction import SqlTransaction
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.stores import Broken, ask, erase, whole_log

KEEP_S = 100.0
KEYS = IdempotencyKeys("a secret", KEEP_S)
_COUNT = Statement(lambda _: select(func.count()).select_from(idempotency_keys))


@pytest.fixture
async def admin(store: Store) -> User:
    """A user who sends requests."""
    await keep(store, admin := a_user(role="admin"))
    return admin


def a_claim(
    admin: User, clock: ManualClock, *, key: str = "k", route: str = "POST /v1/users", body: bytes = b"{}"
) -> Claim:
    return KEYS.claim(admin.id, route, key, body, clock())


def shown(written: Written[Any]) -> StoredResponse:
    """Headers that are known only at the commit, and every byte."""
    (user,) = [event.user for event in written.events if event.user is not None] or [written.value]
    headers = {"ETag": f'"{user.version}"', "Roster-Position": str(written.position), "Link": 'é"\\'}
    return StoredResponse(201, headers, bytes(range(256)) + user.username.encode(), user.id)


async def make(
    store: Store, claim: Claim, user: User, *, error: Exception | None = None
) -> tuple[StoredResponse, bool]:
    """Make a user, once."""

    async def act(writes: TransactionRunner) -> None:
        async def work(transaction: Transaction) -> User:
            await transaction.users.save(user)
            await transaction.events.append(created(user))
            if error is not None:
                raise error
            return user

        await writes.write(work, BY)

    return await run_idempotent(store, claim, shown, act)


async def test_second_with_the_key_gets_the_answer_of_the_first(store: Store, clock: ManualClock, admin: User) -> None:
    """One effect and one event; the answer is the same to the byte, with the version and position of that time."""
    ada = a_user()
    first, first_replayed = await make(store, a_claim(admin, clock), ada)
    await keep(store, replace(ada, name="Changed since"), a_user())
    position = await store.events.read_position()
    again, again_replayed = await make(store, a_claim(admin, clock), a_user())

    assert (first_replayed, again_replayed) == (False, True)
    assert again == first
    assert first.headers["ETag"] == '"2"'
    assert first.headers["Roster-Position"] == f"{position.epoch}-2"
    assert await store.events.read_position() == position


async def test_key_stands_for_one_body(store: Store, clock: ManualClock, admin: User) -> None:
    """Another body with the key is refused and changes nothing; the first answer is still there."""
    first, _ = await make(store, a_claim(admin, clock), a_user())
    position = await store.events.read_position()
    with pytest.raises(IdempotencyKeyReused):
        await make(store, a_claim(admin, clock, body=b"[]"), a_user())

    assert await store.events.read_position() == position
    assert await make(store, a_claim(admin, clock), a_user()) == (first, True)


async def test_key_belongs_to_a_user_and_a_route(store: Store, clock: ManualClock, admin: User) -> None:
    """The same key of another user, or on another route, is another key."""
    await keep(store, other := a_user(role="admin"))
    claims = [a_claim(admin, clock), a_claim(other, clock), a_claim(admin, clock, route="POST /v1/others")]
    outcomes = [await make(store, claim, a_user()) for claim in (*claims, a_claim(admin, clock, key="K"))]

    assert [replayed for _, replayed in outcomes] == [False] * 4
    assert len({answer.body for answer, _ in outcomes}) == 4


async def test_what_failed_is_not_kept(store: Store, clock: ManualClock, admin: User) -> None:
    """A work that raises, and a name that is taken, leave the key as it was: the next try may succeed."""
    await keep(store, ada := a_user())
    with pytest.raises(Broken):
        await make(store, a_claim(admin, clock), a_user(), error=Broken())
    with pytest.raises(AlreadyExists):
        await make(store, a_claim(admin, clock), a_user(username=ada.username))
    _, replayed = await make(store, a_claim(admin, clock, body=b"another"), a_user())

    assert not replayed


async def test_key_is_forgotten_in_time(store: Store, clock: ManualClock, admin: User) -> None:
    """Until the last moment it is returned again, then the request runs again, whatever the body, and is stored again."""
    first, _ = await make(store, a_claim(admin, clock), a_user())
    clock.advance(KEEP_S - 0.001)
    assert await make(store, a_claim(admin, clock), a_user()) == (first, True)
    clock.advance(0.001)
    anew, replayed = await make(store, a_claim(admin, clock, body=b"another"), a_user())

    assert not replayed
    assert anew != first
    clock.advance(KEEP_S - 0.001)
    assert await make(store, a_claim(admin, clock, body=b"another"), a_user()) == (anew, True)


async def test_at_once_one_is_carried_out(store: Store, clock: ManualClock, admin: User) -> None:
    """Of many with one key that the store is handed together one makes its user, and all get that answer."""
    outcomes = await asyncio.gather(*(make(store, a_claim(admin, clock), a_user()) for _ in range(20)))

    assert sum(not replayed for _, replayed in outcomes) == 1
    assert len({answer.body for answer, _ in outcomes}) == 1
    assert [event.type for event in await whole_log(store)] == ["user.created"] * 2


async def test_many_keys_at_once_get_their_own_answers(store: Store, clock: ManualClock, admin: User) -> None:
    """TransactionRunner that share a transaction keep each its own version, and all the position that they were answered with."""
    users = [a_user() for _ in range(40)]
    claims = [a_claim(admin, clock, key=user.username) for user in users]
    first = await asyncio.gather(*map(make, [store] * 40, claims, users))
    again = await asyncio.gather(*(make(store, claim, a_user()) for claim in claims))

    assert [answer for answer, _ in again] == [answer for answer, _ in first]
    versions = {event.subject: event.seq for event in await whole_log(store)}
    assert [answer.headers["ETag"] for answer, _ in first] == [f'"{versions[user.id]}"' for user in users]


async def test_nothing_is_kept_for_who_is_gone(store: Store, clock: ManualClock, admin: User) -> None:
    """A deleted user has no keys, old or new, and others in the same transaction are not affected."""
    await make(store, a_claim(admin, clock), a_user())
    await erase(store, admin)
    outcomes = await asyncio.gather(
        make(store, a_claim(admin, clock), a_user()),
        make(store, a_claim(admin, clock, key="new"), a_user()),
        keep(store, bob := a_user()),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [InvalidToken, InvalidToken, Written]
    assert (await store.users.find(bob.id)).value is not None


async def test_deleted_user_is_in_no_answer(store: Store, clock: ManualClock, admin: User) -> None:
    """A user that was created and deleted since is not created again, and no copy of it is returned."""
    await make(store, a_claim(admin, clock), ada := a_user())
    kept, _ = await make(store, a_claim(admin, clock, key="other"), a_user())
    await erase(store, ada)
    position = await store.events.read_position()

    with pytest.raises(ResponseExpired):
        await make(store, a_claim(admin, clock), a_user())
    with pytest.raises(IdempotencyKeyReused):
        await make(store, a_claim(admin, clock, body=b"another"), a_user())
    assert await make(store, a_claim(admin, clock, key="other"), a_user()) == (kept, True)
    assert await store.events.read_position() == position


async def test_made_and_deleted_at_once_leaves_no_answer(store: Store, clock: ManualClock, admin: User) -> None:
    """A deletion that shares the transaction of the making empties its answer too."""
    ada = a_user()
    await asyncio.gather(make(store, a_claim(admin, clock), ada), erase(store, ada))
    with pytest.raises(ResponseExpired):
        await make(store, a_claim(admin, clock), a_user())


async def test_write_without_an_event_is_answered_again_too(store: Store, clock: ManualClock, admin: User) -> None:
    """Its answer tells the position at which it found nothing to do."""
    before = await store.events.read_position()

    async def act(writes: TransactionRunner) -> None:
        async def work(transaction: Transaction) -> User | None:
            return await transaction.users.find(admin.id)

        await writes.write(work, BY)

    first = await run_idempotent(store, a_claim(admin, clock), shown, act)
    await keep(store, a_user())
    again = await run_idempotent(store, a_claim(admin, clock), shown, act)

    assert first[0].headers["Roster-Position"] == str(before)
    assert again == (first[0], True)


async def test_change_that_is_answered_again_is_not_made_again(store: Store, clock: ManualClock, admin: User) -> None:
    """An update counts once, whatever was changed after it."""

    async def act(writes: TransactionRunner) -> None:
        async def work(transaction: Transaction) -> User:
            user = await transaction.users.find(admin.id)
            assert user is not None
            await transaction.users.save(aged := replace(user, age=(user.age or 0) + 1))
            await transaction.events.append(updated(aged, "age"))
            return aged

        await writes.write(work, BY)

    outcomes = [await run_idempotent(store, a_claim(admin, clock), shown, act) for _ in range(3)]
    user = (await store.users.find(admin.id)).value

    assert user is not None
    assert user.age == 1
    assert [replayed for _, replayed in outcomes] == [False, True, True]
    assert len((await store.events.list_page(EventQuery(0, 10))).events) == 2


async def test_expired_keys_go_little_by_little(store: Store, clock: ManualClock, admin: User) -> None:
    """Each new key takes at most a few of the old ones with it, and in the end none is left over."""
    for number in range(12):
        await make(store, a_claim(admin, clock, key=f"old {number}"), a_user())
    assert await kept_keys(store) == 12
    clock.advance(KEEP_S)
    sizes = []
    for number in range(13):
        await make(store, a_claim(admin, clock, key=f"new {number}"), a_user())
        sizes.append(await kept_keys(store))

    assert sizes == [11, 10, 9, 8, 7, 6, 7, 8, 9, 10, 11, 12, 13]


async def kept_keys(store: Store) -> int:
    """How many a store holds, which none of its promises tells."""
    if isinstance(store, MemoryStore):
        return len(store._answers)

    async def work(transaction: Transaction) -> int:
        assert isinstance(transaction, SqlTransaction)
        ((count,),) = await transaction.connection.rows(_COUNT)
        return int(count)

    return await ask(store, work)
