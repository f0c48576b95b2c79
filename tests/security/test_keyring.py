"""Which key signs and which ones check, as time goes on and others make new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.auth.signing_key import SigningKey
from service.domain.errors import Unavailable
from service.security import keyring as module
from service.security.keyring import Keyring
from service.security.keys import generate_key
from tests.support.clock import ManualClock
from tests.support.wait import until


class World:
    """A place where keys are kept, and a ring that reads them there."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kept: list[SigningKey] = [self.key()]
        self.reads = 0
        self.losses = 0
        self.is_there = True
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.ring = Keyring(900, self.clock, self.read)
        self.ring.add_loss_listener(self.on_loss)
        self.ring.use(self.kept)

    def key(self, lead_s: float = 0) -> SigningKey:
        return generate_key("HS256", self.clock(), self.clock() + timedelta(seconds=lead_s))

    def on_loss(self) -> None:
        self.losses += 1

    async def read(self) -> Sequence[SigningKey]:
        self.reads += 1
        await self.go_on.wait()
        if not self.is_there:
            raise Unavailable()
        return list(self.kept)


@pytest.fixture
def world() -> World:
    return World()


async def test_next_key_is_known_before_it_signs(world: World) -> None:
    """It checks from the moment at which it is read, signs from its own on, and the one before it checks until it is over."""
    first, second = world.kept[0], world.key(lead_s=600)
    world.kept.append(second)
    assert world.ring.checking(second.kid) is None
    await world.ring.reload()

    assert world.ring.checking(second.kid) is not None
    assert world.ring.signing.kid == first.kid
    world.clock.advance(600)
    assert world.ring.signing.kid == second.kid
    world.clock.advance(900)
    assert world.ring.checking(first.kid) is not None
    world.clock.advance(60)
    assert world.ring.checking(first.kid) is None
    world.kept.remove(first)
    await world.ring.reload()
    assert world.losses == 0


async def test_removed_key_is_reported(world: World) -> None:
    """Tokens of a lost key may be cached, so the loss is reported."""
    first = world.kept[0]
    world.kept[:] = [world.key()]
    await world.ring.reload()

    assert world.losses == 1
    assert world.ring.checking(first.kid) is None
    assert world.ring.signing.kid == world.kept[0].kid
    await world.ring.reload()
    assert world.losses == 1
    del world.kept[:]  # by hand: signing must go on
    await world.ring.reload()
    assert world.ring.signing is not None


async def test_unknown_key_is_looked_for_once_in_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens name keys that are not there, the store is asked no oftener."""
    assert not await world.ring.find("x")
    assert world.reads == 1
    world.kept.append(second := world.key())
    found = await asyncio.gather(*(world.ring.find(name) for name in ("x", second.kid) * 50))
    assert (world.reads, set(found)) == (1, {False})

    monkeypatch.setattr(module, "RELOAD_INTERVAL_S", 0.0)
    assert await world.ring.find(second.kid)
    assert world.reads == 2


async def test_who_asks_during_a_look_waits_for_it(world: World) -> None:
    """Of many that come with a new key at once all are taken after one look, or two where the first goes away."""
    world.kept.append(second := world.key())
    world.go_on.clear()
    asking = [asyncio.create_task(world.ring.find(second.kid)) for _ in range(20)]
    await until(lambda: world.reads == 1)
    asking[0].cancel()
    world.go_on.set()
    found = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert set(found[1:]) == {True}
    assert world.reads == 2


async def test_keys_are_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys are found in the background; while they cannot be read, the known ones remain."""
    monkeypatch.setattr(module, "RELOAD_INTERVAL_S", 0.01)
    following = asyncio.create_task(world.ring.follow())
    world.is_there = False
    await until(lambda: world.reads >= 3)
    assert world.ring.signing.kid == world.kept[0].kid
    world.kept.append(second := world.key())
    world.is_there = True
    await until(lambda: world.ring.checking(second.kid) is not None)
    world.kept.append(replace(second, kid="broken", algorithm="RS256"))  # what a newer version may have made
    reads = world.reads
    await until(lambda: world.reads > reads + 1)
    assert world.ring.checking(second.kid) is not None
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_chosen_keys_are_not_looked_for() -> None:
    """Where keys come from settings there is nowhere to look, and nothing is published of a secret."""
    clock = ManualClock()
    ring = Keyring(900, clock)
    with pytest.raises(LookupError):
        _ = ring.signing
    ring.use([generate_key("HS256", clock(), clock()), generate_key("EdDSA", clock(), clock() + timedelta(days=1))])

    assert not ring.is_kept
    assert not await ring.find("x")
    assert [key["alg"] for key in ring.published] == ["EdDSA"]
