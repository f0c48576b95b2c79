"""Logging in, staying in and leaving."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.domain.auth import login as logins
from service.domain.auth.login import LoggedIn, LoginCommand, Logins, LoginSource
from service.domain.auth.sessions import UNKNOWN, Session
from service.domain.errors import DomainError, InvalidCredentials, InvalidGrant, RefreshTokenReused, Unavailable
from service.domain.events.event import Event
from service.domain.events.query import EventQuery
from service.domain.ports import Store, Transaction
from service.domain.users import accounts
from service.domain.users.accounts import Caller, Change
from service.domain.users.user import User, normalise_email
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, OpenThrottle, PlainHasher, a_user, finish, keep

TTL = timedelta(days=30)
PASSWORD = "correct horse battery staple"
SOURCE = LoginSource("192.0.2.1", UNKNOWN, BY)


class World:
    """A store with one member who has a password, a clock and a hasher."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store: Store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.throttle = OpenThrottle()
        self.results: list[DomainError | None] = []
        self.ada = a_user(username="ada", email="ada@example.com")

    async def begin(self) -> World:
        await keep(self.store, self.ada, a_user(username="root", role="admin"))

        async def work(transaction: Transaction) -> None:
            await transaction.users.set_password(self.ada.id, f"hash of {PASSWORD}")

        await self.store.write(work, BY)
        return self

    async def log_in(self, login: str = "ada", password: str = PASSWORD) -> LoggedIn:
        use_case = Logins(
            store=self.store,
            hasher=self.hasher,
            clock=self.clock,
            throttle=self.throttle,
            ttl=TTL,
            count=self.results.append,
        )
        return await use_case.log_in(LoginCommand(normalise_email(login), password), SOURCE)

    async def refresh(self, session: Session, generation: int, *, authentic: bool = True) -> LoggedIn:
        return await logins.refresh(self.store, self.clock, BY, session.id, generation, lambda _: authentic)

    async def change(self, **fields: Any) -> User:
        admin = Caller(a_user().id, "admin")
        change = accounts.change(self.store, self.hasher, self.clock, BY, admin, self.ada.id, Change(fields))
        return (await change).value

    async def endings(self) -> list[Event]:
        events = (await self.store.events.list_page(EventQuery(0, 1000))).events
        return [event for event in events if event.type == "session.ended"]


@pytest.fixture
async def world() -> World:
    return await World().begin()


# Logging in


@pytest.mark.parametrize("login", ["ada", "ADA", "ada@example.com", "Ada@Example.COM"])
async def test_username_or_address_logs_in(world: World, login: str) -> None:
    """A username or e-mail address, in any case, opens a session that lasts as long as sessions do."""
    entered = await world.log_in(login)
    session = entered.session

    assert entered.user.id == session.user_id == world.ada.id
    assert (session.created_at, session.rotated_at, session.expires_at) == (
        world.clock(),
        world.clock(),
        world.clock() + TTL,
    )
    assert session.generation == 1
    assert len(session.secret) == 32
    assert await world.store.sessions.find_with_user(session.id) == (session, entered.user)


async def keep_hash(world: World, password_hash: str) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.users.set_password(world.ada.id, password_hash)

    await world.store.write(work, BY)


async def kept_hash(world: World) -> str | None:
    credentials = await world.store.users.find_by_login("ada")
    return None if credentials is None else credentials.password_hash


async def test_hash_of_old_is_made_anew(world: World) -> None:
    """A login with the right password replaces a hash that would be made in another way now, and writes no event."""
    await keep_hash(world, f"old hash of {PASSWORD}")
    before = await world.store.events.read_position()
    with pytest.raises(InvalidCredentials):
        await world.log_in(password="wrong")
    assert await kept_hash(world) == f"old hash of {PASSWORD}"
    await world.log_in()

    assert await kept_hash(world) == f"hash of {PASSWORD}"
    assert world.hasher.hashed == [PASSWORD]
    assert await world.store.events.read_position() == before
    await world.log_in()
    assert world.hasher.hashed == [PASSWORD]


async def test_newer_password_is_not_overwritten(world: World) -> None:
    """A password that changes while its hash is being replaced stays as changed, and the old one is invalid."""
    await keep_hash(world, f"old hash of {PASSWORD}")
    world.hasher.before_hash = lambda: keep_hash(world, "hash of another")
    with pytest.raises(InvalidCredentials):
        await world.log_in()

    assert await kept_hash(world) == "hash of another"
    assert await sessions(world) == 0


async def test_login_does_not_outrun_a_new_password(world: World) -> None:
    """A login that was checking the old password when another was set gets no session."""
    world.hasher.before_verify = lambda: keep_hash(world, "hash of another")
    with pytest.raises(InvalidCredentials):
        await world.log_in()

    assert await sessions(world) == 0


async def test_logins_at_once_make_one_hash_anew(world: World) -> None:
    """They all succeed, though each finds that another has replaced the hash which it looked at."""
    await keep_hash(world, f"old hash of {PASSWORD}")
    waiting = asyncio.Barrier(2)

    async def together() -> None:
        world.hasher.before_hash = None if waiting.n_waiting else world.hasher.before_hash
        await waiting.wait()

    world.hasher.before_hash = together
    await asyncio.gather(world.log_in(), world.log_in())

    assert await kept_hash(world) == f"hash of {PASSWORD}"
    assert await sessions(world) == 2


async def sessions(world: World) -> int:
    async def work(transaction: Transaction) -> int:
        return len(await transaction.sessions.list_of_user(world.ada.id))

    return (await world.store.write(work, BY)).value


async def test_busy_hasher_refuses_no_login(world: World) -> None:
    """If the hash cannot be replaced now, the login succeeds with the old one."""

    async def busy() -> None:
        raise Unavailable

    await keep_hash(world, f"old hash of {PASSWORD}")
    world.hasher.before_hash = busy

    assert (await world.log_in()).user.username == "ada"
    assert await kept_hash(world) == f"old hash of {PASSWORD}"


async def test_every_login_is_a_session_of_its_own(world: World) -> None:
    """Two logins have nothing in common but the user, and write no event."""
    before = await world.store.events.read_position()
    one, other = await world.log_in(), await world.log_in()

    assert one.session.id != other.session.id
    assert one.session.secret != other.session.secret
    assert await world.store.events.read_position() == before


@pytest.mark.parametrize(
    ("login", "password"),
    [("ada", "wrong"), ("absent", PASSWORD), ("root", PASSWORD), ("root", ""), ("", PASSWORD), ("ada\0", PASSWORD)],
)
async def test_refused_login_takes_as_long_as_any(world: World, login: str, password: str) -> None:
    """A wrong password, an unknown login and an account without password are refused alike, each after one check."""
    with pytest.raises(InvalidCredentials) as refused:
        await world.log_in(login, password)

    assert str(refused.value) == InvalidCredentials.sentence
    assert world.hasher.verified == [password]


async def test_login_is_one_attempt_at_its_account(world: World) -> None:
    """By whichever name, a login is one attempt at the account, or at the login that was sent; each result is counted."""
    await world.log_in("Ada@example.com")
    with pytest.raises(InvalidCredentials):
        await world.log_in("ada", "wrong")
    with pytest.raises(InvalidCredentials):
        await world.log_in("Absent")

    ada = world.ada.id
    assert world.throttle.ended == [(ada, "succeeded"), (ada, "password"), ("absent", "password")]
    assert [result and type(result) for result in world.results] == [None, InvalidCredentials, InvalidCredentials]


async def test_inactive_account_is_refused_alike(world: World) -> None:
    """A deactivated account with the right password is refused like a wrong one, after the same check."""
    await world.change(active=False)
    with pytest.raises(InvalidCredentials) as refused:
        await world.log_in()

    assert str(refused.value) == InvalidCredentials.sentence
    assert world.hasher.verified == [PASSWORD]


async def test_deactivation_during_the_check_refuses_the_login(world: World) -> None:
    """An account that is deactivated while its password is checked gets no session."""
    world.hasher.before_verify = lambda: world.change(active=False)
    with pytest.raises(InvalidCredentials):
        await world.log_in()

    async def sessions(transaction: Transaction) -> list[Session]:
        return list(await transaction.sessions.list_of_user(world.ada.id))

    assert (await world.store.write(sessions, BY)).value == []


# Staying in


async def test_refresh_hands_out_the_next_generation(world: World) -> None:
    """The newest token is answered with the next generation of the same session, and with the user as it is now."""
    first = await world.log_in()
    ada = await world.change(role="admin")
    world.clock.advance(60)
    second = await world.refresh(first.session, 1)

    assert second.user == ada
    assert (second.session.id, second.session.secret) == (first.session.id, first.session.secret)
    assert (second.session.generation, second.session.rotated_at) == (2, world.clock())
    assert second.session.expires_at == first.session.expires_at
    assert await world.endings() == []


@pytest.mark.parametrize("waited_s", [0, 5, 10])
async def test_lost_answer_is_given_again(world: World, waited_s: float) -> None:
    """For ten seconds the token before the newest is answered with the very same successor."""
    session = (await world.log_in()).session
    second = await world.refresh(session, 1)
    world.clock.advance(waited_s)

    assert await world.refresh(session, 1) == second
    assert (await world.refresh(session, 2)).session.generation == 3


async def test_two_tabs_get_one_successor(world: World) -> None:
    """Two refreshes with one token at the same time get the same successor."""
    session = (await world.log_in()).session
    one, other = await asyncio.gather(world.refresh(session, 1), world.refresh(session, 1))

    assert one == other


async def test_reuse_ends_the_session(world: World) -> None:
    """A token that was used up more than ten seconds ago ends the session, although the answer is a refusal."""
    session = (await world.log_in()).session
    await world.refresh(session, 1)
    world.clock.advance(10.001)
    with pytest.raises(RefreshTokenReused) as refused:
        await world.refresh(session, 1)

    assert (refused.value.session_id, refused.value.user_id) == (session.id, world.ada.id)
    assert await world.store.sessions.find_with_user(session.id) is None
    (ended,) = await world.endings()
    assert (ended.session_id, ended.subject, ended.actor, ended.reason) == (session.id, world.ada.id, None, "reuse")
    with pytest.raises(InvalidGrant) as refused_too:  # the newest as well
        await world.refresh(session, 2)
    assert not isinstance(refused_too.value, RefreshTokenReused)


async def test_reuse_within_grace_counts_once_the_successor_was_used(world: World) -> None:
    """As soon as the successor was used, its predecessor is a copy, however young."""
    session = (await world.log_in()).session
    await world.refresh(session, 1)
    await world.refresh(session, 2)
    with pytest.raises(InvalidGrant):
        await world.refresh(session, 1)

    assert await world.store.sessions.find_with_user(session.id) is None


async def test_forged_token_ends_no_session(world: World) -> None:
    """A token that the session did not make is refused and leaves the session as it was, whatever its generation."""
    session = (await world.log_in()).session
    await world.refresh(session, 1)
    world.clock.advance(60)
    for generation in (1, 2, 3):
        with pytest.raises(InvalidGrant):
            await world.refresh(session, generation, authentic=False)

    assert await world.endings() == []
    assert (await world.refresh(session, 2)).session.generation == 3


async def test_session_ends_by_itself(world: World) -> None:
    """From the moment at which it expires a session renews nothing, however often it was refreshed."""
    session = (await world.log_in()).session
    world.clock.now = session.expires_at - timedelta(microseconds=1)
    session = (await world.refresh(session, 1)).session
    world.clock.now = session.expires_at
    with pytest.raises(InvalidGrant):
        await world.refresh(session, 2)

    assert await world.store.sessions.find_with_user(session.id) is None
    assert await world.endings() == []


async def test_unknown_session_renews_nothing(world: World) -> None:
    """A token of a session that never was is refused."""
    session = (await world.log_in()).session
    await logins.log_out(world.store, world.clock, BY, world.ada.id, session.id)
    with pytest.raises(InvalidGrant):
        await world.refresh(session, 1)


# Leaving


async def test_logout_ends_one_session(world: World) -> None:
    """Logging out ends this session, with its event, and no other."""
    one, other = (await world.log_in()).session, (await world.log_in()).session
    await logins.log_out(world.store, world.clock, BY, world.ada.id, one.id)

    assert await world.store.sessions.find_with_user(one.id) is None
    assert await world.store.sessions.find_with_user(other.id) is not None
    (ended,) = await world.endings()
    assert (ended.session_id, ended.subject, ended.actor, ended.reason) == (
        one.id,
        world.ada.id,
        world.ada.id,
        "logout",
    )


async def test_logging_out_twice_is_harmless(world: World) -> None:
    """A revocation is one event."""
    session = (await world.log_in()).session
    for _ in range(2):
        await logins.log_out(world.store, world.clock, BY, world.ada.id, session.id)

    assert len(await world.endings()) == 1


# Everything at once: an owner, and a thief with copies of its tokens


class Refreshing(RuleBasedStateMachine):
    """A session and all refresh tokens it ever issued, presented by any client at any time."""

    @initialize()
    def log_in(self) -> None:
        self.world = finish(World().begin())
        self.session = finish(self.world.log_in()).session
        self.given_out_at = {1: self.world.clock()}
        self.ended = False

    @rule(seconds=st.sampled_from([0, 1, 4, 5, 6, 10, 11, 3600]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule(data=st.data())
    def present(self, data: st.DataObject) -> None:
        newest = max(self.given_out_at)
        generation = data.draw(st.integers(1, newest))
        age = self.world.clock() - self.given_out_at[newest]
        try:
            renewed = finish(self.world.refresh(self.session, generation)).session.generation
        except InvalidGrant:
            # Only a copy is refused: neither the newest nor, for ten seconds, the one before it ever is.
            assert self.ended or generation < newest - 1 or (generation == newest - 1 and age > timedelta(seconds=10))
            self.ended = True
            return
        assert not self.ended
        assert generation >= newest - 1
        assert renewed == (newest if generation < newest else newest + 1)
        self.given_out_at.setdefault(renewed, self.world.clock())

    @precondition(lambda self: not self.ended)
    @rule()
    def forge(self) -> None:
        with pytest.raises(InvalidGrant):
            finish(self.world.refresh(self.session, max(self.given_out_at), authentic=False))

    @invariant()
    def end_is_recorded_once(self) -> None:
        """The session exists until it is revoked, which is one event."""
        found = finish(self.world.store.sessions.find_with_user(self.session.id))
        assert (found is None) is self.ended
        assert [event.reason for event in finish(self.world.endings())] == ["reuse"] * self.ended


Refreshing.TestCase.settings = settings(max_examples=50, stateful_step_count=20)
TestRefreshing = Refreshing.TestCase
