"""Addresses that are proven, while other things happen; the way over HTTP is tested with the views."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.audit import AuditQuery
from service.domain.auth import password_change
from service.domain.errors import WrongPassword
from service.domain.users import accounts, email_change
from service.domain.users.accounts import Change
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, caller, keep

PASSWORD = "correct horse battery staple"
HOUR = timedelta(hours=1)


class World:
    """A store with one member who has a password."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.ada = a_user(username="ada", email="ada@example.com")

    async def begin(self) -> World:
        await keep(self.store, self.ada)
        await self.set_password(f"hash of {PASSWORD}")
        return self

    async def set_password(self, password_hash: str) -> None:
        await self.store.write(lambda transaction: transaction.users.set_password(self.ada.id, password_hash), BY)

    async def change_password(self) -> None:
        hasher = PlainHasher()
        await password_change.change(
            self.store, hasher, self.clock, BY, self.ada.id, uuid.uuid4(), PASSWORD, "another good one"
        )

    async def ask(self, email: str = "new@example.com") -> None:
        await email_change.ask(self.store, self.clock, BY, self.ada.id, f"hash of {PASSWORD}", email, HOUR)

    async def waiting(self) -> list[str]:
        return [mail.kind for mail in await self.store.mails.list_due(self.clock(), 10)]


@pytest.fixture
async def world() -> World:
    return await World().begin()


async def test_change_of_address_does_not_outrun_a_new_password(world: World) -> None:
    """A caller whose password was changed after the check cannot move the account."""
    world.hasher.before_verify = world.change_password
    wanted = Change({"email": "new@example.com"}, PASSWORD)
    with pytest.raises(WrongPassword):
        await accounts.change(world.store, world.hasher, world.clock, BY, caller(world.ada), world.ada.id, wanted)
    user = (await world.store.users.find(world.ada.id)).value
    assert user is not None
    assert user.email == "ada@example.com"


async def test_address_is_asked_for_who_has_proven_to_be_there(world: World) -> None:
    """With the present password, and of an account that may be used."""
    await world.ask()
    assert await world.waiting() == ["move"]


async def test_own_address_is_not_asked(world: World) -> None:
    """The present address gets no mail, and an earlier request stays valid."""
    await world.ask()
    before = await world.store.mails.list_due(world.clock(), 10)
    await world.ask("ada@example.com")
    assert await world.store.mails.list_due(world.clock(), 10) == before
    assert len(await world.store.audit.list_page(AuditQuery(limit=10, action="email_change.requested"))) == 1


async def test_asking_again_takes_back_what_was_asked_before(world: World) -> None:
    """Also for an address that has an account, and for the own one: an earlier, mistyped address must become invalid."""
    await keep(world.store, a_user(email="bob@example.com"))
    for email in ("bob@example.com", "ada@example.com"):
        await world.ask()
        await email_change.ask(world.store, world.clock, BY, world.ada.id, f"hash of {PASSWORD}", email, HOUR)
        assert list(await world.store.mail_tokens.list_expired(world.clock() + 2 * HOUR, 10)) == []


async def test_nothing_is_asked_for_a_password_that_was_changed(world: World) -> None:
    """Nor for an account that was deactivated since: what was mailed to it has just been taken back."""
    await world.change_password()
    await world.ask()
    assert await world.waiting() == ["changed"]

    await world.set_password(f"hash of {PASSWORD}")
    await keep(world.store, replace(world.ada, active=False))
    await world.ask()
    assert await world.waiting() == ["changed"]
