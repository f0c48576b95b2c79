"""The effects of turning a second factor on and off, and of new recovery codes, on an account."""

from __future__ import annotations

import uuid

import pytest
from pyotp import TOTP

from service.domain.auth import mfa, second_factors
from service.domain.auth.totp import SecondFactor
from service.domain.errors import Conflict, InvalidToken, OtpFieldMissing, OtpFieldWrong, WrongPassword
from service.domain.users.accounts import Caller
from tests.support.domain import BY
from tests.support.member import NEW_PASSWORD, PASSWORD, Member
from tests.support.stores import ask, erase

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class World(Member):
    """The account `ada`, and the use cases of its second factor."""

    def code(self, secret: str = SECRET) -> str:
        return TOTP(secret).at(self.clock())

    async def turn_on(self) -> list[str]:
        """Confirm a second factor; its recovery codes. The time goes on, so that the next code is a new one."""
        await self.set_factor(SecondFactor(SECRET))
        codes = await self.confirm(self.code())
        self.clock.advance(30)
        return codes

    async def confirm(self, code: str) -> list[str]:
        return await second_factors.confirm(self.store, self.clock, BY, self.ada.id, self.here.id, code)

    async def renew(self, code: str | None, password: str = PASSWORD) -> list[str]:
        return await second_factors.renew_codes(self.store, self.hasher, self.clock, BY, self.ada.id, password, code)

    async def remove(self, code: str | None, password: str = PASSWORD) -> bool:
        return await second_factors.remove(
            self.store, self.hasher, self.clock, BY, self.ada.id, self.here.id, password, code
        )

    async def consume_code(self, code: str) -> bool:
        owner = await self.credentials()
        return await ask(self.store, lambda write: mfa.consume_code(write, self.clock, owner, code))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.create()
    return world


async def test_begun_factor_changes_nothing_yet(world: World) -> None:
    """Beginning ends no session, mails nothing, and login still takes the password alone."""
    await second_factors.begin(world.store, world.hasher, world.clock, BY, world.ada.id, PASSWORD)
    assert not (await world.credentials()).asks_otp
    assert await world.sessions() == {world.here.id, world.elsewhere.id}
    assert await world.mails() == []


async def test_beginning_takes_the_password(world: World) -> None:
    """A wrong password begins nothing."""
    with pytest.raises(WrongPassword):
        await second_factors.begin(world.store, world.hasher, world.clock, BY, world.ada.id, NEW_PASSWORD)
    assert (await world.credentials()).second_factor is None


async def test_confirmation_ends_the_other_sessions(world: World) -> None:
    """Sessions that were opened with the password alone end, but for the one that confirms; the owner is notified."""
    await world.turn_on()
    assert await world.sessions() == {world.here.id}
    assert [(event.session_id, event.reason) for event in await world.ends()] == [(world.elsewhere.id, "second_factor")]
    assert await world.mails() == [("totp_on", "ada@example.com")]
    assert (await world.credentials()).asks_otp


async def test_code_of_the_confirmation_is_used_up(world: World) -> None:
    """The code that turned the second factor on does not pass again, and the next one does."""
    await world.set_factor(SecondFactor(SECRET))
    code = world.code()
    await world.confirm(code)
    assert not await world.consume_code(code)
    world.clock.advance(30)
    assert await world.consume_code(world.code())


async def test_nothing_is_confirmed_that_was_not_begun(world: World) -> None:
    """Confirming without a beginning, and confirming twice, is a conflict whatever the code."""
    with pytest.raises(Conflict):
        await world.confirm("000000")
    await world.turn_on()
    with pytest.raises(Conflict):
        await world.confirm(world.code())


async def test_recovery_code_does_not_confirm(world: World) -> None:
    """Recovery codes of an earlier second factor end with it, and turn no other one on."""
    codes = await world.turn_on()
    await world.remove(codes[0])
    await world.set_factor(SecondFactor(SECRET))
    with pytest.raises(OtpFieldWrong):
        await world.confirm(codes[1])
    assert not await world.consume_code(codes[1])


async def test_renewed_codes_replace_all_before(world: World) -> None:
    """Every earlier recovery code is invalid, every new one is valid once, and the owner is notified."""
    before = await world.turn_on()
    after = await world.renew(world.code())
    assert len({*before, *after}) == 20
    assert [await world.consume_code(code) for code in before] == [False] * 10
    assert [await world.consume_code(code) for code in after] == [True] * 10
    assert [await world.consume_code(code) for code in after] == [False] * 10
    assert ("new_codes", "ada@example.com") in await world.mails()


async def test_renewal_by_a_recovery_code_uses_it_up(world: World) -> None:
    """A recovery code is enough to get new ones, and is not valid afterwards."""
    before = await world.turn_on()
    await world.renew(before[3])
    assert not await world.consume_code(before[3])


async def test_refused_renewal_leaves_the_codes(world: World) -> None:
    """Without the password and a valid code no recovery code is replaced."""
    before = await world.turn_on()
    with pytest.raises(WrongPassword):
        await world.renew(world.code(), NEW_PASSWORD)
    with pytest.raises(OtpFieldMissing):
        await world.renew(None)
    with pytest.raises(OtpFieldWrong):
        await world.renew("000000")
    assert await world.consume_code(before[0])
    assert await world.consume_code(world.code())


@pytest.mark.parametrize("factor", [None, SecondFactor(SECRET)])
async def test_account_without_a_confirmed_factor_has_no_codes_to_renew(
    world: World, factor: SecondFactor | None
) -> None:
    """Renewal is a conflict where no second factor is on, also where one was begun."""
    if factor is not None:
        await world.set_factor(factor)
    with pytest.raises(Conflict):
        await world.renew(None)


async def test_removal_ends_the_other_sessions(world: World) -> None:
    """After the removal the password alone logs in; sessions end but for the one that removes it, and the owner is notified."""
    await world.turn_on()
    assert await world.remove(world.code())
    found = await world.credentials()
    assert (found.second_factor, found.asks_otp) == (None, False)
    assert await world.sessions() == {world.here.id}
    assert await world.mails() == [("totp_off", "ada@example.com"), ("totp_on", "ada@example.com")]


async def test_refused_removal_leaves_it_on(world: World) -> None:
    """Without the password and a valid code the second factor stays on."""
    await world.turn_on()
    with pytest.raises(WrongPassword):
        await world.remove(world.code(), NEW_PASSWORD)
    with pytest.raises(OtpFieldMissing):
        await world.remove(None)
    with pytest.raises(OtpFieldWrong):
        await world.remove("000000")
    assert (await world.credentials()).asks_otp


async def test_removal_of_what_was_only_begun_takes_no_code(world: World) -> None:
    """It changes nothing about the login, so no session ends and nothing is mailed."""
    await world.set_factor(SecondFactor(SECRET))
    assert not await world.remove(None)
    assert (await world.credentials()).second_factor is None
    assert await world.sessions() == {world.here.id, world.elsewhere.id}
    assert await world.mails() == []
    with pytest.raises(Conflict):
        await world.remove(None)


async def test_removal_by_an_administrator_ends_every_session(world: World) -> None:
    """The event names the administrator as the actor, and the owner is notified."""
    admin = Caller(uuid.uuid4(), "admin")
    await world.turn_on()
    await second_factors.remove_from(world.store, world.clock, BY, admin, world.ada.id)
    assert await world.sessions() == set()
    assert [event.actor for event in await world.ends()] == [world.ada.id, admin.id]
    assert ("totp_off", "ada@example.com") in await world.mails()


async def test_deleted_user_renews_and_removes_nothing(world: World) -> None:
    """A request of a user that was deleted while its password was compared is refused."""
    await world.turn_on()
    world.hasher.before_verify = lambda: erase(world.store, world.ada)
    with pytest.raises(InvalidToken):
        await world.renew(world.code())
    with pytest.raises(InvalidToken):
        await world.remove(world.code())
