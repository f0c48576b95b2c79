"""Registering with an address that has to be proven; the way over HTTP is tested with the views."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.mail.mail import MailToken
from service.domain.ports import Store, Transaction
from service.domain.users import registration
from service.domain.users.accounts import NewUser
from service.domain.users.user import User
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.stores import whole_log

TTL = timedelta(hours=24)
ADA = NewUser("ada", "ada@example.com")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Store:
    return MemoryStore(clock)


async def user_of(store: Store, login: str) -> User | None:
    credentials = await store.users.find_by_login(login)
    return None if credentials is None else credentials.user


async def register(store: Store, clock: ManualClock, new: NewUser = ADA) -> None:
    await registration.register(store, clock, BY, new, TTL)


async def test_unconfirmed_accounts_are_forgotten(store: Store, clock: ManualClock) -> None:
    """When its token expires, an unconfirmed account is deleted, with an event; others stay."""
    await register(store, clock)
    clock.advance(3600)
    await register(store, clock, NewUser("bob", "bob@example.com"))
    clock.advance(23 * 3600 - 1)
    await registration.forget_expired(store, clock)
    assert await user_of(store, "ada") is not None

    clock.advance(1)
    assert not await registration.forget_expired(store, clock)
    assert await user_of(store, "ada") is None
    assert await user_of(store, "bob") is not None
    assert [event.type for event in await whole_log(store)] == ["user.created", "user.created", "user.deleted"]


async def test_accounts_in_use_are_not_forgotten(store: Store, clock: ManualClock) -> None:
    """Where an administrator activated it meanwhile, or what expired is a way to a new password, only the token goes."""
    await register(store, clock)
    ada = await user_of(store, "ada")
    assert ada is not None
    await keep(store, replace(ada, active=True), bob := a_user())

    async def work(transaction: Transaction) -> None:
        await transaction.mail_tokens.save(MailToken(bob.id, "reset", bob.email, clock() + TTL, (b"d" * 32,)))

    await store.write(work, BY)
    clock.advance(24 * 3600)
    await registration.forget_expired(store, clock)

    assert (await store.users.find(ada.id)).value is not None
    assert (await store.users.find(bob.id)).value is not None
    assert list(await store.mail_tokens.list_expired(clock(), 10)) == []


async def test_many_are_forgotten_a_part_at_a_time(store: Store, clock: ManualClock) -> None:
    """One write deletes a bounded number, and returns whether there may be more."""
    for number in range(5):
        await register(store, clock, NewUser(f"ada{number}", f"ada{number}@example.com"))
    clock.advance(24 * 3600)

    assert [await registration.forget_expired(store, clock, 2) for _ in range(3)] == [True, True, False]
    assert list(await store.mail_tokens.list_expired(clock(), 10)) == []
    assert not await registration.forget_expired(store, clock, 2)


async def test_username_of_another_user_is_not_taken_over(store: Store, clock: ManualClock) -> None:
    """As long as its owner may confirm it, an account keeps its name from other addresses; afterwards it gives way."""
    await register(store, clock)
    await register(store, clock, NewUser("ada", "eve@example.com"))
    assert await user_of(store, "eve@example.com") is None
    assert [mail.kind for mail in await store.mails.list_due(clock(), 10)] == ["verify", "taken"]

    clock.advance(24 * 3600)
    await register(store, clock, NewUser("ada", "eve@example.com"))
    assert await user_of(store, "eve@example.com") is not None
    assert await user_of(store, "ada@example.com") is None


async def test_inactive_account_is_no_registration(store: Store, clock: ManualClock) -> None:
    """A deactivated account is not replaced; its owner receives a notice."""
    await keep(store, a_user(username="ada", email="ada@example.com", active=False))
    await register(store, clock)

    assert [mail.kind for mail in await store.mails.list_due(clock(), 10)] == ["known"]
    assert len(await whole_log(store)) == 1
