"""Replacing a forgotten password, and changing a known one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pyotp import TOTP

from service.domain.auth import password_change
from service.domain.auth.totp import SecondFactor
from service.domain.errors import (
    Invalid,
    InvalidMailToken,
    InvalidToken,
    OtpFieldMissing,
    OtpFieldWrong,
    WrongPassword,
)
from service.domain.mail.mail import MailTokenRef
from service.domain.users.user import Credentials
from tests.support.domain import BY, a_user, keep
from tests.support.member import NEW_PASSWORD, PASSWORD, Member
from tests.support.stores import erase

HOUR = timedelta(hours=1)
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OLD_HASH, NEW_HASH = f"hash of {PASSWORD}", f"hash of {NEW_PASSWORD}"


@pytest.fixture
async def member() -> Member:
    return await Member().create()


async def forgot(member: Member, email: str) -> None:
    await password_change.forgot(member.store, member.clock, BY, email, HOUR)


async def reset(member: Member, presented: MailTokenRef, password: str = NEW_PASSWORD) -> Credentials:
    return await password_change.reset(member.store, member.hasher, member.clock, BY, presented, password)


async def change(member: Member, current: str = PASSWORD, new: str = NEW_PASSWORD, otp: str | None = None) -> None:
    await password_change.change(
        member.store, member.hasher, member.clock, BY, member.ada.id, member.here.id, current, new, otp
    )


async def assert_untouched(member: Member) -> None:
    """The password, both sessions and the API token are as before, and nothing was mailed."""
    assert await member.password_hash() == OLD_HASH
    assert await member.sessions() == {member.here.id, member.elsewhere.id}
    assert await member.tokens() == {member.token.id}
    assert await member.mails() == []


# forgot


async def test_request_mails_a_link_to_the_address_of_the_account(member: Member) -> None:
    """A request for a known address enqueues one mail of the kind `reset`, and changes nothing else."""
    await forgot(member, "ada@example.com")
    assert await member.mails() == [("reset", "ada@example.com")]
    assert await member.password_hash() == OLD_HASH
    assert await member.ends() == []
    assert (await member.audited())[-1] == "password_reset.requested"


@pytest.mark.parametrize("email", ["ada", "eve@example.com", "ADA@example.com", "", "ada@example.com "])
async def test_request_for_anything_but_an_address_mails_nothing(member: Member, email: str) -> None:
    """An unknown address, a username, and an address that is not normalized find no account and leave no entry."""
    before = await member.audited()
    await forgot(member, email)
    assert await member.mails() == []
    assert await member.audited() == before


async def test_request_for_an_inactive_account_mails_nothing(member: Member) -> None:
    """An inactive account cannot be opened by a new password."""
    await keep(member.store, replace(member.ada, active=False))
    await forgot(member, "ada@example.com")
    assert await member.mails() == []


async def test_request_leaves_earlier_links_valid(member: Member) -> None:
    """A stranger who requests another link does not invalidate the one in the owner's mailbox."""
    presented = await member.mail_token("reset")
    await forgot(member, "ada@example.com")
    await reset(member, presented)
    assert await member.password_hash() == NEW_HASH


# reset


async def test_reset_replaces_the_password_and_ends_all_access(member: Member) -> None:
    """Every session and API token ends for the reason `password`, and the owner is notified by mail."""
    owner = await reset(member, await member.mail_token("reset"))
    assert owner.user.id == member.ada.id
    assert await member.password_hash() == NEW_HASH
    assert (await member.sessions(), await member.tokens()) == (set(), set())
    assert {(event.reason, event.actor) for event in await member.ends()} == {("password", member.ada.id)}
    assert len(await member.ends()) == 3
    assert await member.mails() == [("changed", "ada@example.com")]
    assert "password.reset" in await member.audited()


async def test_account_without_a_password_gets_one_by_reset(member: Member) -> None:
    """An account that was created without a password gets its first one from a mailed link."""
    member.ada = a_user()
    await keep(member.store, member.ada)
    await reset(member, await member.mail_token("reset"))
    found = await member.store.users.find_by_login(member.ada.email)
    assert found is not None
    assert found.password_hash == NEW_HASH


async def test_link_works_once(member: Member) -> None:
    """A link that was used is refused afterwards, before a hash is computed."""
    presented = await member.mail_token("reset")
    await reset(member, presented)
    with pytest.raises(InvalidMailToken):
        await reset(member, presented, PASSWORD)
    assert member.hasher.hashed == [NEW_PASSWORD]
    assert await member.password_hash() == NEW_HASH


async def test_link_used_while_the_hash_is_computed_is_refused(member: Member) -> None:
    """Of two requests with one link at once, the second one sets nothing."""
    presented = await member.mail_token("reset")

    async def use() -> None:
        member.hasher.before_hash = None
        await reset(member, presented, NEW_PASSWORD)

    member.hasher.before_hash = use
    with pytest.raises(InvalidMailToken):
        await reset(member, presented, "the slower passphrase")
    assert await member.password_hash() == NEW_HASH


@pytest.mark.parametrize("seconds", [3600, 3601])
async def test_expired_link_is_refused(member: Member, seconds: float) -> None:
    """A link is invalid from the moment at which it expires."""
    presented = await member.mail_token("reset", HOUR)
    member.clock.advance(seconds)
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    assert member.hasher.hashed == []
    await assert_untouched(member)


async def test_link_is_valid_until_it_expires(member: Member) -> None:
    """One microsecond before the end a link still works."""
    presented = await member.mail_token("reset", HOUR)
    member.clock.advance(HOUR.total_seconds() - 1e-6)
    await reset(member, presented)
    assert await member.password_hash() == NEW_HASH


async def test_link_that_expires_while_the_hash_is_computed_is_refused(member: Member) -> None:
    """The end of a link is compared with the time of the write, not only with the time of the request."""
    presented = await member.mail_token("reset", HOUR)

    async def wait() -> None:
        member.clock.advance(3600)

    member.hasher.before_hash = wait
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    await assert_untouched(member)


@pytest.mark.parametrize("late", [False, True])
async def test_link_to_an_earlier_address_is_refused(member: Member, late: bool) -> None:
    """A link proves the address that it was mailed to; after the account has another address, it proves nothing."""
    presented = await member.mail_token("reset")

    async def move() -> None:
        await keep(member.store, replace(member.ada, email="new@example.com"))

    if late:
        member.hasher.before_hash = move
    else:
        await move()
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    await assert_untouched(member)


@pytest.mark.parametrize("late", [False, True])
async def test_link_of_an_inactive_account_is_refused(member: Member, late: bool) -> None:
    """A deactivated account is not opened by a link, also when it was deactivated while the hash was computed."""
    presented = await member.mail_token("reset")

    async def deactivate() -> None:
        await keep(member.store, replace(member.ada, active=False))

    if late:
        member.hasher.before_hash = deactivate
    else:
        await deactivate()
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    await assert_untouched(member)


@pytest.mark.parametrize("late", [False, True])
async def test_link_of_a_deleted_account_is_refused(member: Member, late: bool) -> None:
    """A deleted account is not opened by a link, also when it was deleted while the hash was computed."""
    presented = await member.mail_token("reset")

    async def delete() -> None:
        await erase(member.store, member.ada)

    if late:
        member.hasher.before_hash = delete
    else:
        await delete()
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    assert await member.store.users.find_by_login("ada") is None


@pytest.mark.parametrize("purpose", ["verify", "move"])
async def test_link_for_another_purpose_is_refused(member: Member, purpose: str) -> None:
    """A link that confirms an address does not set a password."""
    presented = await member.mail_token("verify" if purpose == "verify" else "move")
    with pytest.raises(InvalidMailToken):
        await reset(member, presented)
    await assert_untouched(member)


async def test_link_of_another_user_is_refused(member: Member) -> None:
    """The hash of a token is valid for its own user alone."""
    bob = a_user()
    await keep(member.store, bob)
    presented = await member.mail_token("reset")
    with pytest.raises(InvalidMailToken):
        await reset(member, presented._replace(user_id=bob.id))
    with pytest.raises(InvalidMailToken):
        await reset(member, presented._replace(digest=bytes(32)))


@pytest.mark.parametrize("password", ["password1", "ada@example.com", "Roster2026!"])
async def test_common_password_leaves_the_link_valid(member: Member, password: str) -> None:
    """A common password, or one made of the owner's names, is refused before it is hashed; the link works afterwards."""
    presented = await member.mail_token("reset")
    with pytest.raises(Invalid) as refused:
        await reset(member, presented, password)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/password", "password_too_common")]
    assert member.hasher.hashed == []
    await reset(member, presented)
    assert await member.password_hash() == NEW_HASH


async def test_reset_keeps_a_second_factor_that_is_on(member: Member) -> None:
    """A link proves the mailbox and no more: the second factor is still asked for afterwards."""
    factor = SecondFactor(SECRET, member.clock())
    await member.set_factor(factor)
    await reset(member, await member.mail_token("reset"))
    assert (await member.credentials()).second_factor == factor


async def test_reset_removes_a_second_factor_that_was_only_begun(member: Member) -> None:
    """Knowing the earlier password must not be enough to turn on a second factor after the reset."""
    await member.set_factor(SecondFactor(SECRET))
    await reset(member, await member.mail_token("reset"))
    assert (await member.credentials()).second_factor is None


# change


async def test_change_replaces_the_password_and_ends_the_other_sessions(member: Member) -> None:
    """The session of the request and the API tokens stay, and the owner is notified by mail."""
    await change(member)
    assert await member.password_hash() == NEW_HASH
    assert await member.sessions() == {member.here.id}
    assert await member.tokens() == {member.token.id}
    assert [(event.session_id, event.reason) for event in await member.ends()] == [(member.elsewhere.id, "password")]
    assert await member.mails() == [("changed", "ada@example.com")]
    assert "password.changed" in await member.audited()


async def test_change_invalidates_mailed_links(member: Member) -> None:
    """Links to a new password that were mailed before the change are refused after it."""
    presented = await member.mail_token("reset")
    await change(member)
    with pytest.raises(InvalidMailToken):
        await reset(member, presented, "the third passphrase")
    assert await member.password_hash() == NEW_HASH


@pytest.mark.parametrize("current", ["", NEW_PASSWORD, OLD_HASH])
async def test_wrong_current_password_changes_nothing(member: Member, current: str) -> None:
    """A wrong current password is reported at `/current`, and the new one is not hashed."""
    with pytest.raises(WrongPassword) as refused:
        await change(member, current)
    assert [error.pointer for error in refused.value.errors] == ["/current"]
    assert member.hasher.hashed == []
    await assert_untouched(member)


async def test_common_new_password_is_refused_before_the_current_one_is_compared(member: Member) -> None:
    """The error names `/new`, and no hash is computed for a password that is refused anyway."""
    with pytest.raises(Invalid) as refused:
        await change(member, new="password1")
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/new", "password_too_common")]
    assert (member.hasher.verified, member.hasher.hashed) == ([], [])
    await assert_untouched(member)


@pytest.mark.parametrize("new", ["ada@example.com", "Ada Lovelace 1815"])
async def test_new_password_made_of_own_names_is_refused(member: Member, new: str) -> None:
    """Username, address and display name of the account count as names."""
    await keep(member.store, replace(member.ada, name="Ada Lovelace"))
    with pytest.raises(Invalid):
        await change(member, new=new)
    assert await member.password_hash() == OLD_HASH


async def test_change_during_another_change_is_refused(member: Member) -> None:
    """A password that is replaced while the new one is hashed proves nothing any more; the first change stays."""
    member.hasher.before_hash = lambda: member.set_password("the faster passphrase")
    with pytest.raises(WrongPassword):
        await change(member)
    assert await member.password_hash() == "hash of the faster passphrase"
    assert await member.sessions() == {member.here.id, member.elsewhere.id}


async def test_change_asks_for_the_second_factor(member: Member) -> None:
    """With a second factor a change takes its code; without the right one nothing changes."""
    await member.set_factor(SecondFactor(SECRET, member.clock()))
    with pytest.raises(OtpFieldMissing):
        await change(member)
    with pytest.raises(OtpFieldWrong):
        await change(member, otp="000000")
    await assert_untouched(member)
    await change(member, otp=TOTP(SECRET).at(member.clock()))
    assert await member.password_hash() == NEW_HASH
    assert (await member.credentials()).asks_otp


async def test_change_removes_a_second_factor_that_was_only_begun(member: Member) -> None:
    """A second factor that was begun with the earlier password cannot be turned on after the change."""
    await member.set_factor(SecondFactor(SECRET))
    await change(member)
    assert (await member.credentials()).second_factor is None


@pytest.mark.parametrize("late", [False, True])
async def test_deleted_user_changes_nothing(member: Member, late: bool) -> None:
    """A request on its way while its user is deleted is refused like one with an invalid access token."""

    async def delete() -> None:
        await erase(member.store, member.ada)

    if late:
        member.hasher.before_hash = delete
    else:
        await delete()
    with pytest.raises(InvalidToken):
        await change(member)
    assert await member.store.users.find_by_login("ada") is None
