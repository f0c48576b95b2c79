"""Proving the own password once more."""

from __future__ import annotations

import uuid
from uuid import UUID

import pytest
from pyotp import TOTP

from service.domain.auth import reauthentication
from service.domain.auth.totp import SecondFactor
from service.domain.errors import Invalid, InvalidToken, OtpFieldMissing, OtpFieldWrong, WrongPassword
from service.domain.users.user import Credentials
from tests.support.domain import BY, a_user, keep
from tests.support.member import NEW_PASSWORD, PASSWORD, Member
from tests.support.stores import ask, erase

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
async def member() -> Member:
    return await Member().create()


async def require_reauth(
    member: Member, proven: str, otp: str | None = None, pointer: str = "/password"
) -> Credentials:
    return await ask(
        member.store,
        lambda transaction: reauthentication.require_reauth(
            transaction, member.clock, member.ada.id, proven, otp, pointer
        ),
    )


async def reauthenticate(member: Member, otp: str | None, password: str = PASSWORD) -> str:
    return await reauthentication.reauthenticate(
        member.store, member.hasher, member.clock, BY, member.ada.id, password, otp
    )


def pointers(refused: Invalid) -> list[str]:
    return [error.pointer for error in refused.errors]


# prove


async def test_matching_password_proves_the_stored_hash(member: Member) -> None:
    """The result is the hash that is stored, so that `require_reauth` can compare it."""
    assert (
        await reauthentication.verify_password(member.store, member.hasher, member.ada.id, PASSWORD)
        == f"hash of {PASSWORD}"
    )


@pytest.mark.parametrize("password", ["", PASSWORD.upper(), PASSWORD + " ", f"hash of {PASSWORD}"])
async def test_other_password_is_refused_at_its_field(member: Member, password: str) -> None:
    """A password that differs in anything is refused, and the error names the field that the client sent."""
    with pytest.raises(WrongPassword) as refused:
        await reauthentication.verify_password(member.store, member.hasher, member.ada.id, password, "/current")
    assert pointers(refused.value) == ["/current"]


async def test_account_without_a_password_costs_a_hash_and_is_refused(member: Member) -> None:
    """An account without a password proves nothing, and the refusal takes as long as any other."""
    eve = a_user()
    await keep(member.store, eve)
    with pytest.raises(WrongPassword):
        await reauthentication.verify_password(member.store, member.hasher, eve.id, PASSWORD)
    assert member.hasher.verified == [PASSWORD]


@pytest.mark.parametrize("deleted", [True, False])
async def test_missing_user_proves_nothing(member: Member, deleted: bool) -> None:
    """A user that was deleted, and an id that no user ever had, are refused before a hash is computed."""
    if deleted:
        await erase(member.store, member.ada)
    user_id: UUID = member.ada.id if deleted else uuid.uuid4()
    with pytest.raises(InvalidToken):
        await reauthentication.verify_password(member.store, member.hasher, user_id, PASSWORD)
    assert member.hasher.verified == []


async def test_password_of_another_user_proves_nothing(member: Member) -> None:
    """Each user is checked against its own hash."""
    eve = a_user()
    await keep(member.store, eve)
    await member.store.write(lambda write: write.users.set_password(eve.id, f"hash of {NEW_PASSWORD}"), BY)
    with pytest.raises(WrongPassword):
        await reauthentication.verify_password(member.store, member.hasher, member.ada.id, NEW_PASSWORD)


# hold


async def test_hold_accepts_the_hash_that_is_still_stored(member: Member) -> None:
    """`require_reauth` returns the credentials of the user whose password was proven."""
    owner = await require_reauth(member, f"hash of {PASSWORD}")
    assert owner == await member.credentials()


@pytest.mark.parametrize("proven", ["", "hash of ", f"old hash of {PASSWORD}", f"hash of {NEW_PASSWORD}"])
async def test_hold_refuses_any_other_hash(member: Member, proven: str) -> None:
    """A hash that is not the stored one is refused at the field of the password."""
    with pytest.raises(WrongPassword) as refused:
        await require_reauth(member, proven, pointer="/current")
    assert pointers(refused.value) == ["/current"]


async def test_same_password_hashed_again_must_be_proven_again(member: Member) -> None:
    """A hash that was replaced since the check proves nothing, also where the password is the same."""
    proven = await reauthentication.verify_password(member.store, member.hasher, member.ada.id, PASSWORD)
    await member.set_hash(f"old hash of {PASSWORD}")
    with pytest.raises(WrongPassword):
        await require_reauth(member, proven)


async def test_hold_refuses_a_user_that_was_deleted_since(member: Member) -> None:
    """A user that was deleted after its password was checked may do nothing any more."""
    proven = await reauthentication.verify_password(member.store, member.hasher, member.ada.id, PASSWORD)
    await erase(member.store, member.ada)
    with pytest.raises(InvalidToken):
        await require_reauth(member, proven)


async def test_hold_asks_for_the_code_after_the_password(member: Member) -> None:
    """With a second factor the code is required too, but a wrong password is reported first and uses up no code."""
    await member.set_factor(SecondFactor(SECRET, member.clock()))
    code = TOTP(SECRET).at(member.clock())
    with pytest.raises(WrongPassword):
        await require_reauth(member, "hash of nothing", code)
    with pytest.raises(OtpFieldMissing):
        await require_reauth(member, f"hash of {PASSWORD}")
    with pytest.raises(OtpFieldWrong):
        await require_reauth(member, f"hash of {PASSWORD}", "")
    await require_reauth(member, f"hash of {PASSWORD}", code)


async def test_unconfirmed_second_factor_is_not_asked_for(member: Member) -> None:
    """A second factor that was begun and not confirmed protects nothing yet, and no code is required."""
    await member.set_factor(SecondFactor(SECRET))
    assert (await require_reauth(member, f"hash of {PASSWORD}")).user.id == member.ada.id


# show


async def test_shown_code_is_used_up(member: Member) -> None:
    """A code that was shown once does not pass a second time; the next one does."""
    await member.set_factor(SecondFactor(SECRET, member.clock()))
    code = TOTP(SECRET).at(member.clock())
    assert await reauthenticate(member, code) == f"hash of {PASSWORD}"
    with pytest.raises(OtpFieldWrong):
        await reauthenticate(member, code)
    member.clock.advance(30)
    await reauthenticate(member, TOTP(SECRET).at(member.clock()))


async def test_wrong_password_uses_up_no_code(member: Member) -> None:
    """A refused password leaves the code unused, so that the owner can send it again."""
    await member.set_factor(SecondFactor(SECRET, member.clock()))
    code = TOTP(SECRET).at(member.clock())
    with pytest.raises(WrongPassword):
        await reauthenticate(member, code, NEW_PASSWORD)
    await reauthenticate(member, code)


async def test_password_replaced_during_the_check_is_refused(member: Member) -> None:
    """A password that is replaced while its hash is being compared proves nothing, and the code stays unused."""
    await member.set_factor(SecondFactor(SECRET, member.clock()))
    code = TOTP(SECRET).at(member.clock())
    member.hasher.before_verify = lambda: member.set_hash(f"old hash of {PASSWORD}")
    with pytest.raises(WrongPassword):
        await reauthenticate(member, code)
    member.hasher.before_verify = None
    await reauthenticate(member, code)
