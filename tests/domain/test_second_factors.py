"""Turning a second factor on and off, while other things happen."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from pyotp import TOTP

from service.domain.auth import password_change, second_factors
from service.domain.auth.login import LoginCommand, Logins, LoginSource
from service.domain.auth.sessions import UNKNOWN
from service.domain.auth.totp import SecondFactor
from service.domain.errors import (
    Conflict,
    Forbidden,
    InvalidToken,
    NotFound,
    OtpFieldMissing,
    OtpFieldWrong,
    OtpRequired,
    WrongPassword,
)
from service.domain.ports import Transaction
from service.domain.users.accounts import Caller
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, OpenThrottle, PlainHasher, a_user, caller, keep
from tests.support.stores import erase

PASSWORD = "correct horse battery staple"


class World:
    """A store with one member who has a password, a clock and a hasher."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.ada = a_user(username="ada", email="ada@example.com")
        self.session = uuid.uuid4()

    async def begin(self) -> World:
        await keep(self.store, self.ada)
        await self.set_password(PASSWORD)
        return self

    async def set_password(self, password: str) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.users.set_password(self.ada.id, f"hash of {password}")

        await self.store.write(work, BY)

    async def begin_totp(self) -> str:
        begun = await second_factors.begin(self.store, self.hasher, self.clock, BY, self.ada.id, PASSWORD)
        return begun.secret

    async def confirm(self, secret: str) -> list[str]:
        code = TOTP(secret).at(self.clock())
        return await second_factors.confirm(self.store, self.clock, BY, self.ada.id, self.session, code)

    async def remove(self, otp: str | None) -> None:
        await second_factors.remove(self.store, self.hasher, self.clock, BY, self.ada.id, self.session, PASSWORD, otp)

    async def factor(self) -> SecondFactor | None:
        found = await self.store.second_factors.find(self.ada.id)
        return None if found is None else found[0]


@pytest.fixture
async def world() -> World:
    return await World().begin()


async def test_login_does_not_outrun_a_second_factor(world: World) -> None:
    """A login whose password was being checked when the second factor was turned on needs a code."""
    secret = await world.begin_totp()
    world.hasher.before_verify = lambda: world.confirm(secret)
    logins = Logins(
        store=world.store, hasher=world.hasher, clock=world.clock, throttle=OpenThrottle(), ttl=timedelta(days=1)
    )
    with pytest.raises(OtpRequired):
        await logins.log_in(LoginCommand("ada", PASSWORD), LoginSource("192.0.2.1", UNKNOWN, BY))
    assert list(await world.store.sessions.list_of_user(world.ada.id)) == []


async def test_new_password_does_not_outrun_a_second_factor(world: World) -> None:
    """Nor does what else takes a password."""
    secret = await world.begin_totp()
    world.hasher.before_hash = lambda: world.confirm(secret)
    with pytest.raises(OtpFieldMissing):
        await password_change.change(
            world.store, world.hasher, world.clock, BY, world.ada.id, world.session, PASSWORD, "another good one"
        )
    found = await world.store.users.find_by_login("ada")
    assert found is not None
    assert found.password_hash == f"hash of {PASSWORD}"


async def test_password_that_was_replaced_proves_nothing(world: World) -> None:
    """Also where it was right as it was looked at."""
    codes = await world.confirm(await world.begin_totp())
    world.hasher.before_verify = lambda: world.set_password("another good one")
    with pytest.raises(WrongPassword):
        await world.remove(codes[0])
    assert await world.factor() is not None
    world.hasher.before_verify = None
    await world.set_password(PASSWORD)
    await world.remove(codes[0])
    world.hasher.before_verify = lambda: world.set_password("another good one")
    with pytest.raises(WrongPassword):
        await world.begin_totp()
    assert await world.factor() is None


async def test_what_was_begun_goes_with_the_password(world: World) -> None:
    """A caller with the old password cannot turn it on; an active one stays."""
    secret = await world.begin_totp()
    await password_change.change(
        world.store, world.hasher, world.clock, BY, world.ada.id, world.session, PASSWORD, "another good one"
    )
    with pytest.raises(Conflict):
        await world.confirm(secret)
    await world.set_password(PASSWORD)
    codes = await world.confirm(await world.begin_totp())
    await password_change.change(
        world.store, world.hasher, world.clock, BY, world.ada.id, world.session, PASSWORD, "another one", codes[0]
    )
    assert await world.factor() is not None


async def test_second_factor_that_is_on_is_not_begun_anew(world: World) -> None:
    """Not even a caller whose password was right when it was turned on."""
    first, second = await world.begin_totp(), await world.begin_totp()
    world.hasher.before_verify = lambda: world.confirm(second)
    with pytest.raises(Conflict):
        await world.begin_totp()
    factor = await world.factor()
    assert factor == SecondFactor(second, world.clock(), TOTP(second).timecode(world.clock()))
    with pytest.raises(Conflict):
        await world.confirm(first)


async def test_wrong_code_turns_nothing_on(world: World) -> None:
    """One of a secret that was replaced, or one that is too old; then the right one does."""
    first, second = await world.begin_totp(), await world.begin_totp()
    with pytest.raises(OtpFieldWrong):
        await world.confirm(first)
    late = TOTP(second).at(world.clock() - timedelta(seconds=61))
    with pytest.raises(OtpFieldWrong):
        await second_factors.confirm(world.store, world.clock, BY, world.ada.id, world.session, late)
    assert await world.factor() == SecondFactor(second)
    assert len(await world.confirm(second)) == 10


async def test_who_has_gone_turns_nothing_on(world: World) -> None:
    """A request on its way when its user was deleted."""
    secret = await world.begin_totp()
    await erase(world.store, world.ada)
    with pytest.raises(InvalidToken):
        await world.confirm(secret)
    with pytest.raises(InvalidToken):
        await world.begin_totp()


async def test_administrators_remove_what_is_on(world: World) -> None:
    """An administrator removes it for others, not its own; an unconfirmed one does not exist for others."""
    admin = Caller(uuid.uuid4(), "admin")
    secret = await world.begin_totp()
    with pytest.raises(NotFound):
        await second_factors.remove_from(world.store, world.clock, BY, admin, world.ada.id)
    await world.confirm(secret)
    for refused in (caller(world.ada), Caller(uuid.uuid4(), "member"), Caller(world.ada.id, "admin")):
        with pytest.raises(Forbidden):
            await second_factors.remove_from(world.store, world.clock, BY, refused, world.ada.id)
    assert await world.factor() is not None

    await second_factors.remove_from(world.store, world.clock, BY, admin, world.ada.id)
    assert await world.factor() is None
