"""Confirming a registration, and a move to another address: refusals and races, on the memory store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.errors import AlreadyExists, Invalid, InvalidMailToken
from service.domain.mail.mail import MailTokenRef
from service.domain.users import email_change
from tests.support.domain import BY, a_user, keep
from tests.support.member import NEW_PASSWORD, PASSWORD, Member
from tests.support.stores import erase

OLD_HASH, NEW_HASH = f"hash of {PASSWORD}", f"hash of {NEW_PASSWORD}"


class Pending(Member):
    """The account `ada`, registered and not confirmed. It has credentials, as if an administrator had given it some."""

    async def create(self) -> Pending:
        self.ada = replace(self.ada, active=False)
        await super().create()
        return self

    async def confirm(self, presented: MailTokenRef, password: str | None = NEW_PASSWORD) -> None:
        await email_change.confirm(self.store, self.hasher, self.clock, BY, presented, password)

    async def is_active(self) -> bool:
        return (await self.credentials()).user.active


@pytest.fixture
async def pending() -> Pending:
    return await Pending().create()


async def test_holder_of_the_mail_sets_the_password(pending: Pending) -> None:
    """The account becomes active with the new password, and every credential from before ends."""
    await pending.confirm(await pending.mail_token("verify"))
    assert await pending.is_active()
    assert await pending.password_hash() == NEW_HASH
    assert (await pending.sessions(), await pending.tokens()) == (set(), set())
    assert {event.reason for event in await pending.ends()} == {"password"}


async def test_registration_is_confirmed_once(pending: Pending) -> None:
    """The token is consumed: a second confirmation cannot set another password."""
    presented = await pending.mail_token("verify")
    await pending.confirm(presented)
    with pytest.raises(InvalidMailToken):
        await pending.confirm(presented, PASSWORD)
    assert await pending.password_hash() == NEW_HASH


@pytest.mark.parametrize("password", [None, "password1", "ada@example.com"])
async def test_refused_password_leaves_the_token_valid(pending: Pending, password: str | None) -> None:
    """A missing or common password is refused before it is hashed, and the token works afterwards."""
    presented = await pending.mail_token("verify")
    with pytest.raises(Invalid) as refused:
        await pending.confirm(presented, password)
    assert [error.pointer for error in refused.value.errors] == ["/password"]
    assert pending.hasher.hashed == []
    assert not await pending.is_active()
    await pending.confirm(presented)
    assert await pending.is_active()


async def test_expired_registration_is_not_confirmed(pending: Pending) -> None:
    """A token is invalid from the moment at which it expires, whatever password comes with it, and nothing is hashed."""
    presented = await pending.mail_token("verify", timedelta(hours=1))
    pending.clock.advance(3600)
    for password in (NEW_PASSWORD, None):
        with pytest.raises(InvalidMailToken):
            await pending.confirm(presented, password)
    assert pending.hasher.hashed == []
    assert not await pending.is_active()


@pytest.mark.parametrize("what", ["used", "expired", "moved", "deleted"])
async def test_registration_that_changes_during_the_hash_is_not_confirmed(pending: Pending, what: str) -> None:
    """A token that is used up or expires, and an account that moves or is deleted, while the password is hashed, is refused."""
    presented = await pending.mail_token("verify", timedelta(hours=1))

    async def change() -> None:
        pending.hasher.before_hash = None
        match what:
            case "used":
                await pending.confirm(presented, "the faster passphrase")
            case "expired":
                pending.clock.advance(3600)
            case "moved":
                await keep(pending.store, replace(pending.ada, email="new@example.com"))
            case _:
                await erase(pending.store, pending.ada)

    pending.hasher.before_hash = change
    with pytest.raises(InvalidMailToken):
        await pending.confirm(presented)
    found = await pending.store.users.find_by_login("ada")
    assert found is None or found.password_hash != NEW_HASH


async def test_token_of_a_new_password_confirms_no_registration(pending: Pending) -> None:
    """A token is valid for the purpose it was mailed for."""
    with pytest.raises(InvalidMailToken):
        await pending.confirm(await pending.mail_token("reset"))
    assert not await pending.is_active()


# Moves


@pytest.fixture
async def moving() -> Pending:
    """The account `ada`, active."""
    pending = await Pending().create()
    await keep(pending.store, replace(pending.ada, active=True))
    return pending


async def test_move_is_announced_at_the_earlier_address(moving: Pending) -> None:
    """The account has the new address, its password stays, and the earlier address is notified."""
    await moving.confirm(await moving.mail_token("move", email="new@example.com"), None)
    found = await moving.credentials()
    assert (found.user.email, found.password_hash) == ("new@example.com", OLD_HASH)
    assert await moving.mails() == [("moved", "ada@example.com")]


async def test_move_never_sets_a_password(moving: Pending) -> None:
    """A token of a move proves a mailbox that is not yet the account's, so a password beside it is not looked at."""
    await moving.confirm(await moving.mail_token("move", email="new@example.com"), NEW_PASSWORD)
    assert await moving.password_hash() == OLD_HASH
    assert moving.hasher.hashed == []


async def test_move_to_an_address_that_was_taken_since_is_refused(moving: Pending) -> None:
    """The address stays with the account that has it, and the token stays valid until the address is free."""
    bob = a_user(email="new@example.com")
    presented = await moving.mail_token("move", email="new@example.com")
    await keep(moving.store, bob)
    with pytest.raises(AlreadyExists):
        await moving.confirm(presented)
    assert (await moving.credentials()).user.email == "ada@example.com"
    await erase(moving.store, bob)
    await moving.confirm(presented)
    assert (await moving.credentials()).user.email == "new@example.com"


@pytest.mark.parametrize("what", ["inactive", "expired", "used"])
async def test_move_that_is_over_is_refused(moving: Pending, what: str) -> None:
    """An inactive account does not move, and neither an expired token nor a used one moves an account."""
    presented = await moving.mail_token("move", timedelta(hours=1), email="new@example.com")
    match what:
        case "inactive":
            await keep(moving.store, replace(moving.ada, active=False))
        case "expired":
            moving.clock.advance(3600)
        case _:
            await moving.confirm(presented)
            await keep(moving.store, replace(moving.ada, active=True))
    with pytest.raises(InvalidMailToken):
        await moving.confirm(presented)
    assert (await moving.credentials()).user.email == "ada@example.com"
