"""The second factor, wherever a password alone is not enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyotp import HOTP

from service.domain.auth import mfa
from service.domain.auth.recovery_codes import digest_of
from service.domain.auth.totp import STEP_S, SecondFactor
from service.domain.errors import OtpFieldMissing, OtpFieldWrong
from service.domain.ports import Transaction
from service.domain.users.user import Credentials, User
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.stores import ask

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PAPER = "0f3k9d-7yw2hm-c4x8pa-6tq1nz"


class World:
    """A store with one user whose second factor is on, and a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.ada: User = a_user()

    async def begin(self) -> World:
        await keep(self.store, self.ada)

        async def work(transaction: Transaction) -> None:
            digest = digest_of(PAPER)
            assert digest is not None
            await transaction.second_factors.save(self.ada.id, SecondFactor(SECRET, self.clock()))
            await transaction.second_factors.replace_recovery_codes(self.ada.id, [digest])

        await self.store.write(work, BY)
        return self

    @property
    def step(self) -> int:
        return int(self.clock().timestamp()) // STEP_S

    async def owner(self) -> Credentials:
        found = await self.store.users.find_by_login(self.ada.email)
        assert found is not None
        return found

    async def consume_code(self, text: str) -> bool:
        owner = await self.owner()
        return await ask(self.store, lambda transaction: mfa.consume_code(transaction, self.clock, owner, text))

    async def require_code(self, text: str | None) -> None:
        owner = await self.owner()
        await ask(self.store, lambda transaction: mfa.require_code(transaction, self.clock, owner, text))


@pytest.fixture
async def world() -> World:
    return await World().begin()


MOVES = st.lists(st.tuples(st.integers(0, 70), st.integers(-3, 3)), max_size=20)


@given(moves=MOVES)
async def test_code_passes_in_its_time_and_once(moves: list[tuple[int, int]]) -> None:
    """Whatever is tried at whatever time: one of now or beside it, that is newer than every one that has passed."""
    world = await World().begin()
    newest = 0
    for seconds, offset in moves:
        world.clock.advance(seconds)
        step = world.step + offset
        # Of this secret no two steps that are so near have one code.
        passes = abs(offset) <= 1 and step > newest
        assert await world.consume_code(HOTP(SECRET).at(step)) is passes
        newest = step if passes else newest


async def test_recovery_code_passes_once_and_is_reported(world: World) -> None:
    """A code of the app causes no notice."""
    assert await world.consume_code(HOTP(SECRET).at(world.step))
    assert list(await world.store.mails.list_due(world.clock(), 10)) == []
    assert await world.consume_code(PAPER)
    assert not await world.consume_code(PAPER)
    assert [mail.kind for mail in await world.store.mails.list_due(world.clock(), 10)] == ["code_used"]


async def test_code_that_is_missing_or_wrong_is_named(world: World) -> None:
    """Each error has its own message; a user without an active second factor needs no code."""
    with pytest.raises(OtpFieldMissing) as missing:
        await world.require_code(None)
    with pytest.raises(OtpFieldWrong) as wrong:
        await world.require_code("000000")
    found = [(error.pointer, error.code) for refused in (missing, wrong) for error in refused.value.errors]
    assert found == [("/otp", "otp_required"), ("/otp", "wrong_otp")]

    for factor in (SecondFactor(SECRET), None):

        async def work(transaction: Transaction, factor: SecondFactor | None = factor) -> None:
            if factor is None:
                await transaction.second_factors.delete(world.ada.id)
            else:
                await transaction.second_factors.save(world.ada.id, factor)

        await world.store.write(work, BY)
        for text in (None, "000000"):
            await world.require_code(text)
