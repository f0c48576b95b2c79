"""Counting failures in memory: alone, at once, in bounded room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import log2

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from service.config.values import Rate
from service.security.login_throttle.backoff import Backoff
from service.security.login_throttle.counters import FailureCounters, ThrottleKey
from service.security.login_throttle.memory_counters import MemoryCounters
from tests.support.domain import finish

ADA = ThrottleKey("account", "ada")
HOME = ThrottleKey("network", "192.0.2.1")


class Seconds:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class MustWait(Exception):
    """The attempt was refused."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Wrong(Exception):
    """The password was wrong."""


class World:
    """Three failures in fifteen minutes, a manual clock, and the reported waits."""

    def __init__(self, most: int = 3, seconds: int = 900, most_keys: int = 1000) -> None:
        self.clock = Seconds()
        self.waits: list[ThrottleKey] = []
        self.failures = MemoryCounters(Backoff(Rate(most, seconds)), self.clock, most_keys)

    @asynccontextmanager
    async def attempt(self, *keys: ThrottleKey) -> AsyncIterator[None]:
        """Begin and end an attempt; it fails if it raises `Wrong`."""
        begun = await self.failures.begin(*keys)
        if begun.wait_s:
            raise MustWait(begun.wait_s)
        failed = False
        try:
            yield
        except Wrong:
            failed = True
            raise
        finally:
            self.waits += await self.failures.end(begun.keys, failed=failed)

    async def fail(self, *keys: ThrottleKey) -> None:
        with pytest.raises(Wrong):
            async with self.attempt(*keys):
                raise Wrong()

    async def wait_s(self, *keys: ThrottleKey) -> float:
        """How long the next attempt has to wait."""
        try:
            async with self.attempt(*keys):
                return 0.0
        except MustWait as wait:
            return wait.seconds


def test_keeps_to_the_protocol() -> None:
    """It can stand wherever failures are counted."""
    failures: FailureCounters = World().failures
    assert failures is not None


async def test_failure_counts_for_each_key() -> None:
    """A wrong password counts for the account and for the network; the longest wait is reported, and others wait for nothing."""
    world = World()
    for _ in range(3):
        await world.fail(ADA, HOME)

    assert await world.wait_s(ADA, ThrottleKey("network", "198.51.100.1")) == 15
    assert await world.wait_s(ThrottleKey("account", "grace"), HOME) == 15
    assert await world.wait_s(ThrottleKey("account", "grace"), ThrottleKey("network", "198.51.100.1")) == 0
    assert world.waits == [ADA, HOME]


async def test_refused_attempt_costs_nothing() -> None:
    """An attempt during a wait does not prolong it, and counts for none of its keys."""
    world = World()
    for _ in range(3):
        await world.fail(ADA)
    for _ in range(100):
        world.clock.now += 0.1
        await world.wait_s(ADA, HOME)
    world.clock.now += 5.0

    assert await world.wait_s(ADA, HOME) == 0
    assert len(world.failures) == 1


async def test_other_ends_are_no_failures() -> None:
    """A successful, broken or cancelled attempt is no failure, and leaves no count."""
    world = World(most=1)
    for error in (KeyError, asyncio.CancelledError):
        with pytest.raises(error):
            async with world.attempt(ADA):
                raise error()

    assert await world.wait_s(ADA) == 0
    assert len(world.failures) == 0


async def test_forgiven_key_is_as_new() -> None:
    """Forgiven failures free the key at once; attempts under way still count."""
    world = World()
    for _ in range(8):
        await world.fail(ADA)
        world.clock.now += await world.wait_s(ADA)
    await world.failures.forgive(ADA)

    async with world.attempt(ADA), world.attempt(ADA), world.attempt(ADA):
        await world.failures.forgive(ADA)
        assert await world.wait_s(ADA) > 0
    assert await world.wait_s(ADA) == 0
    assert len(world.failures) == 0


async def test_begin_of_a_wait_is_logged() -> None:
    """Once for a run of failures, and again when the next one comes to a wait."""
    world = World()
    for _ in range(6):
        await world.fail(ADA)
        world.clock.now += await world.wait_s(ADA)
    assert world.waits == [ADA]
    world.clock.now += 10_000
    for _ in range(3):
        await world.fail(ADA)
    assert world.waits == [ADA, ADA]


async def test_rows_are_bounded() -> None:
    """When all rows are taken new keys share one, so that no attacker gets more guesses; a key with a row is not affected."""
    world = World(most_keys=10)
    for number in range(10):
        await world.fail(ThrottleKey("account", str(number)))
    for number in range(3):
        await world.fail(ThrottleKey("account", f"new {number}"))

    assert await world.wait_s(ThrottleKey("account", "another")) > 0
    assert await world.wait_s(ThrottleKey("account", "3")) == 0
    assert await world.wait_s(ThrottleKey("network", "another")) == 0
    assert await world.wait_s(ThrottleKey("pair", "another")) == 0
    assert len(world.failures) == 11


async def test_forgiven_rows_make_room() -> None:
    """Rows in which nothing is left are forgotten when others need them."""
    world = World(most_keys=10)
    for turn in range(5):
        for number in range(10):
            await world.fail(ThrottleKey("account", f"{turn} {number}"))
        world.clock.now += 1000

    assert len(world.failures) == 10


async def test_vouching_lasts_a_window_and_is_bounded() -> None:
    """A trusted key is remembered for a window, and the oldest is removed first."""
    world = World(most_keys=3)
    pairs = [ThrottleKey("pair", str(number)) for number in range(4)]
    for pair in (pairs[0], *pairs):
        await world.failures.trust(pair)
        world.clock.now += 1

    assert [await world.failures.is_trusted(pair) for pair in pairs] == [False, True, True, True]
    world.clock.now += 897
    assert [await world.failures.is_trusted(pair) for pair in pairs] == [False, False, True, True]


# Everything at once: attempts that begin and end at any time, in any way


class Guessing(RuleBasedStateMachine):
    """One key, guessed at in every rhythm."""

    @initialize(most=st.integers(1, 6), seconds=st.sampled_from([1, 10, 60, 900]))
    def begin(self, most: int, seconds: int) -> None:
        self.most, self.seconds = most, seconds
        self.world = World(most, seconds)
        self.under_way: list[AbstractAsyncContextManager[None]] = []
        self.failed_at: list[float] = []
        self.began_at = self.world.clock.now

    @rule(share=st.sampled_from([0.001, 0.01, 0.1, 0.5, 1.0, 3.0]))
    def wait(self, share: float) -> None:
        self.world.clock.now += share * self.seconds

    @rule()
    def start(self) -> None:
        attempt = self.world.attempt(ADA)
        try:
            finish(attempt.__aenter__())
        except MustWait as wait:
            self.check_wait(wait.seconds)
        else:
            self.under_way.append(attempt)
        assert len(self.under_way) <= self.most

    def check_wait(self, seconds: float) -> None:
        """It is exact, does not grow by asking, and ends with the window."""
        assert 0 < seconds <= max(1, self.seconds)
        assert finish(self.world.wait_s(ADA)) == seconds
        if not self.under_way:
            self.world.clock.now += seconds * 0.99
            assert finish(self.world.wait_s(ADA)) == pytest.approx(seconds * 0.01)
            self.world.clock.now += seconds * 0.01 + 1e-6
            assert finish(self.world.wait_s(ADA)) == 0

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), end=st.sampled_from([None, Wrong, KeyError]))
    def end(self, data: st.DataObject, end: type[Exception] | None) -> None:
        attempt = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        error = None if end is None else end()
        finish(attempt.__aexit__(end, error, None))
        if end is Wrong:
            self.failed_at.append(self.world.clock.now)
            self.check_bound()

    def check_bound(self) -> None:
        """In no stretch of time has more failed than the terms say."""
        to_longest = self.most + log2(max(1.0, self.seconds / max(1.0, self.seconds / 60)))
        for number, began_at in enumerate(self.failed_at):
            windows = (self.failed_at[-1] - began_at) / self.seconds
            # One at a time after the longest wait, and those that ran beside the one that began it.
            assert len(self.failed_at) - number <= to_longest + self.most + windows * (self.most + 1) + 1

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for attempt in self.under_way:
            finish(attempt.__aexit__(None, None, None))
        self.world.clock.now += self.seconds * (self.most + 8)
        # In the end all is forgiven.
        assert finish(self.world.wait_s(ADA)) == 0


TestGuessing = Guessing.TestCase
