"""The limits of failed logins: strangers wait, and owners do not wait for strangers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from service.config.values import Rate
from service.domain.audit import AuditQuery
from service.domain.auth.sessions import Origin, Session
from service.domain.errors import InvalidCredentials, TooMany
from service.security.login_throttle.alerts import ThrottleAlerts
from service.security.login_throttle.backoff import Backoff
from service.security.login_throttle.counters import ThrottleKey
from service.security.login_throttle.failed_logins import FailedLoginAudit
from service.security.login_throttle.memory_counters import MemoryCounters
from service.security.login_throttle.throttle import SITE_FACTOR, FailureThrottle
from service.server.tasks import Tasks
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock

ADA, GRACE = uuid4(), uuid4()
HOME, OFFICE, AWAY = "2001:db8::1", "192.0.2.1", "198.51.100.1"


class World:
    """Three failures in fifteen minutes; sessions that a test opens; who was looked up."""

    def __init__(self) -> None:
        self.live: dict[UUID, list[Session]] = {}
        self.looked: list[UUID] = []
        self.now = 1_000.0
        self.told_s = 0.0
        self.store = MemoryStore(ManualClock())
        self.audit = FailedLoginAudit(self.store, Tasks())
        self.waits: list[ThrottleKey] = []
        self.counters: MemoryCounters | None = MemoryCounters(
            Backoff(Rate(3, 900)), clock=lambda: self.now, other_terms={"site": Backoff(Rate(3 * SITE_FACTOR, 900))}
        )
        self.throttle = self.build()

    def build(self) -> FailureThrottle:
        return FailureThrottle(self.counters, self.sessions, self.audit, lambda _, waits: self.waits.extend(waits))

    async def sessions(self, user_id: UUID) -> Sequence[Session]:
        self.looked.append(user_id)
        return self.live.get(user_id, [])

    def open(self, account: UUID, client: str | None) -> None:
        now = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
        session = Session(uuid4(), account, b"x" * 32, now, now + timedelta(days=1), now, origin=Origin(client, "test"))
        self.live.setdefault(account, []).append(session)

    async def fail(self, account: UUID | str, client: str, times: int = 1) -> int:
        """Fail as often as it is let; how often that was."""
        tried = 0
        for _ in range(times):
            with contextlib.suppress(InvalidCredentials, TooMany):
                async with self.throttle.admit(account, client) as attempt:
                    tried += 1
                    attempt.failed("password")
                    raise InvalidCredentials()
        return tried

    async def enters(self, account: UUID | str, client: str) -> bool:
        try:
            async with self.throttle.admit(account, client) as attempt:
                attempt.succeeded()
            return True
        except TooMany as error:
            self.told_s = error.retry_after_s
            return False


async def test_strangers_wait_for_account_and_network() -> None:
    """So many failures have every stranger to the account wait, and its network for every account; others do not."""
    world = World()
    assert await world.fail(ADA, AWAY, 10) == 3

    assert not await world.enters(ADA, OFFICE)
    assert world.told_s == 15
    assert not await world.enters(GRACE, AWAY)
    assert await world.enters(GRACE, OFFICE)


async def test_many_networks_of_one_site_wait() -> None:
    """Guesses at many accounts from many /64s of one /48 wait after 16 times the failures of one network; a known network does
    not, nor do other sites."""
    world = World()
    home = "2001:db8:0:ffff::1"
    world.open(ADA, home)
    tried = sum([await world.fail(f"login {n}", f"2001:db8:0:{n:x}::1", 1) for n in range(200)])

    assert tried == 3 * SITE_FACTOR
    assert not await world.enters("another", "2001:db8:0:fffe::1")
    assert await world.enters(ADA, home)
    assert await world.enters("another", "2001:db8:1::1")
    assert await world.enters("another", OFFICE)


async def test_strangers_cannot_keep_the_owner_out() -> None:
    """Where a session of the owner's is, failures of strangers elsewhere refuse nothing, however many there are."""
    world = World()
    world.open(ADA, HOME)
    for number in range(50):
        await world.fail(ADA, f"198.51.100.{number}")

    assert await world.enters(ADA, HOME)
    assert await world.enters(ADA, "2001:db8::ffff")  # the same /64
    assert not await world.enters(ADA, OFFICE)


async def test_others_of_the_network_cannot_keep_the_owner_out() -> None:
    """Nor do failures of others with the same address; a network of one account's sessions is known to no other."""
    world = World()
    world.open(ADA, OFFICE)
    await world.fail(GRACE, OFFICE, 50)

    assert await world.enters(ADA, OFFICE)
    assert not await world.enters(GRACE, OFFICE)


async def test_guess_from_inside_is_bounded() -> None:
    """A known network has as many failures of its own for the account, and then waits like strangers do, by itself."""
    world = World()
    world.open(ADA, HOME)
    tried = await world.fail(ADA, HOME, 50)

    assert tried == 6  # three as a stranger, three as one who is known
    assert not await world.enters(ADA, HOME)
    world.now += 15
    assert await world.fail(ADA, HOME, 50) <= 2
    world.open(ADA, OFFICE)
    assert await world.enters(ADA, OFFICE)


async def test_success_clears_the_pair_and_nothing_else() -> None:
    """An owner who got in may fail again; an attacker with an account cannot continue guessing at others by it."""
    world = World()
    world.open(ADA, HOME)
    for _ in range(10):
        await world.fail(ADA, HOME, 2)
        assert await world.enters(ADA, HOME)
    await world.fail(GRACE, AWAY, 3)
    world.open(ADA, AWAY)

    assert await world.enters(ADA, AWAY)
    assert not await world.enters(GRACE, AWAY)
    assert not await world.enters(GRACE, OFFICE)


async def test_attempt_that_ends_well_clears_nothing_by_itself() -> None:
    """It may have looked at no password at all."""
    world = World()
    world.open(ADA, HOME)
    await world.fail(ADA, HOME, 5)
    for _ in range(3):
        async with world.throttle.admit(ADA, HOME):
            pass

    assert await world.fail(ADA, HOME, 5) == 1


async def test_reset_lets_the_owner_in() -> None:
    """A reset by mail lifts the wait of the account; where it was asked for, the owner is known for a window."""
    world = World()
    await world.fail(ADA, AWAY, 3)
    await world.fail("absent", OFFICE, 3)
    assert not await world.enters(ADA, OFFICE)
    await world.throttle.reopen(ADA, OFFICE, forgive=True)

    assert await world.enters(ADA, HOME)
    assert await world.enters(ADA, OFFICE)
    assert not await world.enters(GRACE, OFFICE)
    await world.fail(ADA, AWAY, 3)
    world.now += 5
    await world.fail(ADA, HOME, 50)
    assert not await world.enters(ADA, HOME)
    assert await world.enters(ADA, OFFICE)


async def test_account_that_is_not_there_costs_the_same_look() -> None:
    """Known networks are looked up only before a refusal, once, and for an unknown login as well."""
    world = World()
    world.open(ADA, None)
    for account in (ADA, "absent"):
        world.looked.clear()
        await world.fail(account, f"192.0.2.{len(str(account))}", 3)
        assert world.looked == []
        assert not await world.enters(account, HOME)
        assert len(world.looked) == 1


async def test_attempts_under_way_count_as_failed() -> None:
    """Of ten at the same time no more get to try than may fail; what was only begun is free again afterwards."""
    world = World()
    go_on = asyncio.Event()
    tried = 0

    async def guess() -> None:
        nonlocal tried
        with contextlib.suppress(TooMany):
            async with world.throttle.admit(ADA, HOME):
                tried += 1
                await go_on.wait()

    guesses = [asyncio.create_task(guess()) for _ in range(10)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*guesses)

    assert tried == 3
    assert await world.enters(ADA, HOME)


async def test_attempt_that_is_cancelled_is_free() -> None:
    """A caller that goes away has not failed, and does not count as under way."""
    world = World()
    for _ in range(5):
        begun = asyncio.Event()

        async def guess(begun: asyncio.Event = begun) -> None:
            async with world.throttle.admit(ADA, HOME):
                begun.set()
                await asyncio.Event().wait()

        guessing = asyncio.create_task(guess())
        await begun.wait()
        guessing.cancel()
        await asyncio.gather(guessing, return_exceptions=True)

    assert world.looked == []
    assert await world.enters(ADA, HOME)


async def test_failures_and_refusals_are_recorded_also_without_a_limit() -> None:
    """The audit counts failures and refused attempts of one account and network; without a limit it still counts failures."""
    world = World()
    await world.fail(ADA, AWAY, 5)
    world.counters = None
    world.throttle = world.build()
    assert await world.fail(ADA, AWAY, 5) == 5
    await world.audit.write()

    entries = await world.store.audit.list_page(AuditQuery(limit=10, action="login.failed"))
    assert [(entry.subject, entry.details) for entry in entries] == [(ADA, {"failed": 8, "codes": 0, "refused": 2})]
    assert world.waits == [ThrottleKey("account", str(ADA)), ThrottleKey("network", AWAY)]


def test_waits_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """Each wait is counted; a line in ten seconds names one, and never the text of an unknown login."""
    counted: list[str] = []
    now = 1_000.0
    alarm = ThrottleAlerts(counted.append, clock=lambda: now)
    with caplog.at_level(logging.WARNING, "roster.logins"):
        account, network = ThrottleKey("account", str(ADA)), ThrottleKey("network", "192.0.2.1")
        alarm((account, network), (account, network))
        for number in range(100):
            alarm((account, ThrottleKey("network", f"192.0.2.{number}")), (network,))
        now += 10
        unknown = ThrottleKey("account", "correct horse battery staple")
        alarm((unknown, network), (unknown,))
        now += 10
        pair = ThrottleKey("pair", f"{ADA} 192.0.2.1")
        alarm((pair,), (pair,))
    told = [vars(record) for record in caplog.records]

    assert (counted.count("account"), counted.count("network"), counted.count("pair")) == (2, 101, 1)
    assert [(line.get("account"), line.get("network"), line.get("pair"), line["waits"]) for line in told] == [
        (str(ADA), "192.0.2.1", None, ["account", "network"]),
        ("unknown", "192.0.2.1", None, ["account"]),
        (None, None, f"{ADA} 192.0.2.1", ["pair"]),
    ]
    assert [line["others_since_last_line"] for line in told] == [0, 100, 0]
