"""The promises of every store about second factors and recovery codes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.auth.totp import SecondFactor, new_secret
from service.domain.ports import Store, Transaction
from service.domain.users.user import User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.stores import Broken, ask, erase

CODES = [bytes([number]) * 32 for number in range(10)]


@pytest.fixture
async def ada(store: Store) -> User:
    """A user who has a second factor, or will have one."""
    await keep(store, ada := a_user())
    return ada


async def put(store: Store, user: User, factor: SecondFactor | None, *codes: bytes) -> None:
    async def work(transaction: Transaction) -> None:
        if factor is None:
            await transaction.second_factors.delete(user.id)
        else:
            await transaction.second_factors.save(user.id, factor)
            await transaction.second_factors.replace_recovery_codes(user.id, codes)

    await store.write(work, BY)


def consume_step(user: User, step: int) -> Callable[[Transaction], Awaitable[bool]]:
    return lambda transaction: transaction.second_factors.consume_totp_step(user.id, step)


def consume_code(user: User, digest: bytes) -> Callable[[Transaction], Awaitable[bool]]:
    return lambda transaction: transaction.second_factors.consume_recovery_code(user.id, digest)


async def at_once(store: Store, step: Callable[[Transaction], Awaitable[bool]]) -> list[bool]:
    """The results of five concurrent tries, the failures first."""
    return sorted(await asyncio.gather(*(ask(store, step) for _ in range(5))))


async def test_second_factor_comes_back_as_it_went_in(store: Store, clock: ManualClock, ada: User) -> None:
    """With the credentials by login and inside a write, and by itself with how many codes are left; begun or confirmed."""
    begun = SecondFactor(new_secret())
    confirmed = SecondFactor(new_secret(), clock() + timedelta(microseconds=1), 59_000_000)
    for factor, codes in ((begun, []), (confirmed, CODES), (begun, CODES[:1])):
        await put(store, ada, factor, *codes)
        inside = await ask(store, lambda transaction: transaction.users.find_credentials(ada.id))
        (held,) = await ask(store, lambda transaction: transaction.users.find_by_identity((ada.id,), (), ()))
        by_login = await store.users.find_by_login(ada.email)

        assert inside is not None
        assert inside == held == by_login
        assert inside.second_factor == factor
        assert inside.asks_otp is (factor is confirmed)
        assert await store.second_factors.find(ada.id) == (factor, len(codes))


async def test_user_without_one_has_none(store: Store, ada: User) -> None:
    """Nor has a user who is not there; and nothing of it can be taken."""
    for user in (ada, a_user()):
        assert await store.second_factors.find(user.id) is None
        assert not await ask(store, consume_step(user, 1))
        assert not await ask(store, consume_code(user, CODES[0]))
    found = await store.users.find_by_login(ada.email)
    assert found is not None
    assert not found.asks_otp


async def test_step_is_taken_once(store: Store, clock: ManualClock, ada: User) -> None:
    """One of several concurrent tries consumes it; an older step is not accepted any more, a newer one is."""
    await put(store, ada, SecondFactor(new_secret(), clock(), 99))
    assert await at_once(store, consume_step(ada, 100)) == [False] * 4 + [True]

    for step, taken in ((99, False), (100, False), (102, True), (101, False), (103, True)):
        assert await ask(store, consume_step(ada, step)) is taken
    found = await store.second_factors.find(ada.id)
    assert found is not None
    assert found[0].last_step == 103


async def test_recovery_code_is_taken_once(store: Store, clock: ManualClock, ada: User) -> None:
    """One of several concurrent tries consumes it, and only of its own user."""
    await put(store, ada, SecondFactor(new_secret(), clock()), *CODES)
    await keep(store, bob := a_user())
    await put(store, bob, SecondFactor(new_secret(), clock()), CODES[9])
    assert await at_once(store, consume_code(ada, CODES[0])) == [False] * 4 + [True]

    assert not await ask(store, consume_code(bob, CODES[1]))
    assert not await ask(store, consume_code(ada, b""))
    assert await store.second_factors.find(ada.id) == (await _factor(store, ada), 9)
    assert await store.second_factors.find(bob.id) == (await _factor(store, bob), 1)


async def _factor(store: Store, user: User) -> SecondFactor | None:
    found = await store.users.find_by_login(user.email)
    return None if found is None else found.second_factor


async def test_new_codes_replace_all_before(store: Store, clock: ManualClock, ada: User) -> None:
    """Those of before are worth nothing, used or not."""
    factor = SecondFactor(new_secret(), clock())
    await put(store, ada, factor, *CODES[:5])
    await put(store, ada, factor, *CODES[5:])

    assert await store.second_factors.find(ada.id) == (factor, 5)
    assert not await ask(store, consume_code(ada, CODES[0]))
    assert await ask(store, consume_code(ada, CODES[5]))


async def test_second_factor_goes_with_its_codes(store: Store, clock: ManualClock, ada: User) -> None:
    """Removed, and when its user is deleted: one that is turned on later has none of them."""
    factor = SecondFactor(new_secret(), clock())
    await put(store, ada, factor, *CODES)
    await put(store, ada, None)
    assert await store.second_factors.find(ada.id) is None
    assert not await ask(store, consume_code(ada, CODES[0]))

    await put(store, ada, factor, *CODES)
    await erase(store, ada)
    assert await store.second_factors.find(ada.id) is None
    await keep(store, ada)
    assert await _factor(store, ada) is None


async def test_other_changes_of_the_user_leave_it(store: Store, clock: ManualClock, ada: User) -> None:
    """A new name or password takes nothing of it away."""
    factor = SecondFactor(new_secret(), clock(), 7)
    await put(store, ada, factor, *CODES)

    async def work(transaction: Transaction) -> None:
        await transaction.users.save(replace(ada, name="Ada Lovelace"))
        await transaction.users.save_many([replace(ada, name="Ada King")])
        await transaction.users.set_password(ada.id, "a hash")

    await store.write(work, BY)
    assert await store.second_factors.find(ada.id) == (factor, 10)


async def test_failed_write_leaves_it_as_it_was(store: Store, clock: ManualClock, ada: User) -> None:
    """A code of a write that fails can be consumed again."""
    factor = SecondFactor(new_secret(), clock(), 7)
    await put(store, ada, factor, *CODES)

    async def fails(transaction: Transaction) -> None:
        assert await transaction.second_factors.consume_totp_step(ada.id, 8)
        assert await transaction.second_factors.consume_recovery_code(ada.id, CODES[0])
        await transaction.second_factors.replace_recovery_codes(ada.id, CODES[:1])
        await transaction.second_factors.save(ada.id, SecondFactor(new_secret()))
        await transaction.second_factors.delete(ada.id)
        raise Broken

    with pytest.raises(Broken):
        await store.write(fails, BY)
    assert await store.second_factors.find(ada.id) == (factor, 10)
    assert await ask(store, consume_code(ada, CODES[0]))
