"""The use cases of accounts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth.sessions import Session
from service.domain.errors import (
    AlreadyExists,
    Forbidden,
    LastAdmin,
    NotFound,
    PasswordFieldMissing,
    VersionMismatch,
    WrongPassword,
)
from service.domain.events.event import Event
from service.domain.events.query import EventQuery
from service.domain.ports import Store, Transaction
from service.domain.users import accounts
from service.domain.users.accounts import Caller, Change, NewUser
from service.domain.users.user import CHANGEABLE, User
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, caller, keep


class World:
    """A store with an administrator and two members, a clock and a hasher."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store: Store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.admin = a_user(username="root", role="admin")
        self.ada = a_user(username="ada", email="ada@example.com", name="Ada", age=36)
        self.bob = a_user(username="bob", email="bob@example.com")

    async def begin(self) -> World:
        await keep(self.store, self.admin, self.ada, self.bob)
        self.admin, self.ada, self.bob = [await self.user(user.id) for user in (self.admin, self.ada, self.bob)]

        async def work(transaction: Transaction) -> None:
            for user in (self.admin, self.ada, self.bob):
                await transaction.users.set_password(user.id, f"hash of {user.username}'s password")

        await self.store.write(work, BY)
        return self

    async def user(self, user_id: uuid.UUID) -> User:
        found = (await self.store.users.find(user_id)).value
        assert found is not None
        return found

    async def change(self, by: User, whom: User, **fields: Any) -> User:
        password = fields.pop("current_password", None)
        versions = fields.pop("versions", None)
        wanted = Change(fields, password, versions)
        return (await accounts.change(self.store, self.hasher, self.clock, BY, caller(by), whom.id, wanted)).value

    async def delete(self, by: User, whom: User, versions: frozenset[int] | None = None) -> None:
        await accounts.delete(self.store, self.clock, BY, caller(by), whom.id, versions)

    async def log(self, after: int = 0) -> Sequence[Event]:
        return (await self.store.events.list_page(EventQuery(after, 1000))).events

    async def head(self) -> int:
        return (await self.store.events.read_position()).seq

    async def session_of(self, user: User) -> Session:
        now = self.clock()
        session = Session(uuid.uuid4(), user.id, b"s" * 32, now, now + timedelta(days=30), now)

        async def work(transaction: Transaction) -> None:
            await transaction.sessions.save(session)

        await self.store.write(work, BY)
        return session


@pytest.fixture
async def world() -> World:
    return await World().begin()


# Making accounts


async def test_account_that_is_made_is_whole(world: World) -> None:
    """A new account has an id, its fields, its time and the version of the event that made it."""
    new = NewUser("eve", "eve@example.com", "Eve", 7, password="eve's password")
    made = await accounts.create(world.store, world.hasher, world.clock, BY, new, None)
    user = made.value

    assert user == await world.user(user.id)
    assert (user.username, user.email, user.name, user.age, user.role, user.active) == (
        "eve",
        "eve@example.com",
        "Eve",
        7,
        "member",
        True,
    )
    assert user.created_at == user.updated_at == world.clock()
    assert user.id.version == 7
    assert user.version == made.position.seq == await world.head()


async def test_who_made_an_account_is_its_actor(world: World) -> None:
    """A user who registers is the actor of its own event; a created account names the administrator."""
    own = await accounts.create(world.store, world.hasher, world.clock, BY, NewUser("eve", "eve@example.com"), None)
    other = await accounts.create(
        world.store, world.hasher, world.clock, BY, NewUser("kim", "kim@example.com"), world.admin.id
    )

    events = (await world.log())[-2:]
    assert [event.type for event in events] == ["user.created"] * 2
    assert [(event.actor, event.subject) for event in events] == [
        (own.value.id, own.value.id),
        (world.admin.id, other.value.id),
    ]
    assert events[0].user == own.value


async def test_account_without_password_has_none(world: World) -> None:
    """An account made without a password costs no hash and has no password."""
    await accounts.create(world.store, world.hasher, world.clock, BY, NewUser("eve", "eve@example.com"), world.admin.id)
    found = await world.store.users.find_by_login("eve")

    assert world.hasher.hashed == []
    assert found is not None
    assert found.password_hash is None


@pytest.mark.parametrize(
    ("username", "email", "fields"),
    [
        ("ada", "new@example.com", ("username",)),
        ("new", "ada@example.com", ("email",)),
        ("ada", "ada@example.com", ("username", "email")),
        ("ada", "bob@example.com", ("username", "email")),
    ],
)
async def test_taken_names_are_refused(world: World, username: str, email: str, fields: tuple[str, ...]) -> None:
    """Usernames and e-mail addresses are unique, and every duplicate field is named."""
    before = await world.head()
    with pytest.raises(AlreadyExists) as refused:
        await accounts.create(world.store, world.hasher, world.clock, BY, NewUser(username, email), None)

    assert refused.value.fields == fields
    assert await world.head() == before


# Changing them


async def test_change_writes_one_event(world: World) -> None:
    """A change commits with one event that carries the user, what differs, and the new version."""
    world.clock.advance(60)
    before = await world.head()
    after = await world.change(world.ada, world.ada, name="Ada King", age=36)

    assert (
        after
        == replace(world.ada, name="Ada King", updated_at=world.clock(), version=before + 1)
        == await world.user(world.ada.id)
    )
    (event,) = await world.log(before)
    assert (event.type, event.actor, event.subject, event.user, event.changed) == (
        "user.updated",
        world.ada.id,
        world.ada.id,
        after,
        ("name",),
    )


@pytest.mark.parametrize("fields", [{}, {"name": "Ada"}, {"username": "ada", "email": "ada@example.com", "age": 36}])
async def test_change_that_changes_nothing_writes_nothing(world: World, fields: dict[str, Any]) -> None:
    """A change to what is there already leaves version, time and log as they were."""
    before = await world.store.events.read_position()
    world.clock.advance(60)

    assert await world.change(world.ada, world.ada, **fields) == world.ada
    assert await world.store.events.read_position() == before


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "username": st.sampled_from(["ada", "ada2", "ada3"]),
        "email": st.sampled_from(["ada@example.com", "ada2@example.com"]),
        "name": st.sampled_from(["", "Ada", "Ada King"]),
        "age": st.sampled_from([None, 0, 36]),
        "role": st.sampled_from(["member", "admin"]),
        "active": st.booleans(),
    },
)


@given(st.lists(FIELDS, max_size=5))
def test_patches_merge_one_after_the_other(patches: list[dict[str, Any]]) -> None:
    """After any patches a user is its old self with each laid over it, and each that differs made one version."""

    async def scenario() -> None:
        world = await World().begin()
        expected = world.ada
        for patch in patches:
            before = await world.head()
            after = await world.change(world.admin, world.ada, **patch)
            wanted = replace(expected, **patch)
            differs = any(getattr(wanted, name) != getattr(expected, name) for name in CHANGEABLE)
            expected = replace(wanted, updated_at=after.updated_at, version=after.version)
            assert after == expected == await world.user(world.ada.id)
            assert await world.head() == before + differs
            assert (after.version == before + 1) is differs

    asyncio.run(scenario())


async def test_another_is_not_there_for_a_member(world: World) -> None:
    """A member finds neither an absent user nor another one, whatever it wants of it, and costs no hash by it."""
    absent = a_user()
    for whom in (world.bob, world.admin, absent):
        with pytest.raises(NotFound):
            await world.change(world.ada, whom, name="x")
        with pytest.raises(NotFound):
            await world.change(world.ada, whom, email="x@example.com", current_password="ada's password")
        with pytest.raises(NotFound):
            await world.delete(world.ada, whom)
        with pytest.raises(NotFound):
            await world.delete(world.ada, whom, frozenset({0}))
    with pytest.raises(NotFound):
        await world.change(world.admin, absent, name="x")
    assert world.hasher.verified == []


@pytest.mark.parametrize("fields", [{"role": "admin"}, {"active": False}, {"name": "x", "role": "admin"}])
async def test_member_may_not_change_its_rights(world: World, fields: dict[str, Any]) -> None:
    """A member cannot give itself another role or activity, and nothing else of such a change happens."""
    with pytest.raises(Forbidden):
        await world.change(world.ada, world.ada, **fields)

    assert await world.user(world.ada.id) == world.ada


async def test_member_may_repeat_its_rights(world: World) -> None:
    """Sending back the role and activity that one has is no change of them."""
    after = await world.change(world.ada, world.ada, name="Ada King", role="member", active=True)

    assert after.name == "Ada King"


async def test_own_address_asks_for_the_password(world: World) -> None:
    """Where none is there, which is no wrong one, the refusal says that one must be."""
    with pytest.raises(PasswordFieldMissing) as refused:
        await world.change(world.ada, world.ada, email="new@example.com", current_password=None)

    (error,) = refused.value.errors
    assert (error.pointer, error.code) == ("/current_password", "password_required")
    assert world.hasher.verified == []


@pytest.mark.parametrize("password", ["", "bob's password", "ada's passwor"])
async def test_own_address_needs_the_password(world: World, password: str) -> None:
    """A change of the own e-mail address with a wrong current password is refused, and names the field."""
    with pytest.raises(WrongPassword) as refused:
        await world.change(world.ada, world.ada, email="new@example.com", current_password=password)

    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/current_password", "wrong_password")]
    assert await world.user(world.ada.id) == world.ada


async def test_own_address_changes_with_the_password(world: World) -> None:
    """With the current password the own e-mail address changes, and is valid for logins from then on."""
    after = await world.change(world.ada, world.ada, email="new@example.com", current_password="ada's password")

    assert after.email == "new@example.com"
    found = await world.store.users.find_by_login("new@example.com")
    assert found is not None
    assert found.user == after
    assert await world.store.users.find_by_login("ada@example.com") is None


async def test_address_that_stays_costs_no_hash(world: World) -> None:
    """Repeating the address, or not naming it, asks for no password and computes no hash."""
    await world.change(world.ada, world.ada, email="ada@example.com", name="x", current_password="wrong")
    await world.change(world.ada, world.ada, name="y", current_password="wrong")

    assert world.hasher.verified == []


async def test_admin_changes_another_address_without_password(world: World) -> None:
    """An administrator changes the e-mail address of any user, and needs the password for its own."""
    after = await world.change(world.admin, world.ada, email="new@example.com")
    assert after.email == "new@example.com"

    with pytest.raises(PasswordFieldMissing):
        await world.change(world.admin, world.admin, email="root2@example.com")
    own = await world.change(world.admin, world.admin, email="root2@example.com", current_password="root's password")
    assert own.email == "root2@example.com"


async def test_password_of_who_took_the_old_address_proves_nothing(world: World) -> None:
    """When the address passes to another while the password is looked up, the other's password opens nothing."""
    real = world.store.users.find_by_login

    async def overtaken(login: str) -> Any:
        await world.change(world.admin, world.ada, email="elsewhere@example.com")
        await world.change(world.admin, world.bob, email="ada@example.com")
        return await real(login)

    world.store.users.find_by_login = overtaken  # type: ignore[method-assign]  # no store lets two writes in between by itself
    with pytest.raises(WrongPassword):
        await world.change(world.ada, world.ada, email="new@example.com", current_password="bob's password")


async def test_taken_address_is_refused_on_change(world: World) -> None:
    """A change to what another has is refused whole."""
    with pytest.raises(AlreadyExists) as refused:
        await world.change(world.admin, world.ada, username="bob", email="bob@example.com", name="x")

    assert refused.value.fields == ("username", "email")
    assert await world.user(world.ada.id) == world.ada


async def test_stale_version_changes_nothing(world: World) -> None:
    """A change or deletion of another version than the present one is refused; naming the present among others is not."""
    present = world.ada.version
    for versions in (frozenset[int](), frozenset({present - 1, present + 1})):
        with pytest.raises(VersionMismatch):
            await world.change(world.ada, world.ada, name="x", versions=versions)
        with pytest.raises(VersionMismatch):
            await world.delete(world.ada, world.ada, versions)
        with pytest.raises(VersionMismatch):  # also where nothing would change
            await world.change(world.ada, world.ada, versions=versions)

    assert (await world.change(world.ada, world.ada, name="x", versions=frozenset({0, present}))).name == "x"


async def test_two_changes_of_one_version_are_one(world: World) -> None:
    """Of two changes to the same version exactly one is carried out."""
    present = frozenset({world.ada.version})
    found = await asyncio.gather(
        world.change(world.ada, world.ada, name="one", versions=present),
        world.change(world.ada, world.ada, name="two", versions=present),
        return_exceptions=True,
    )

    assert [type(result) for result in found if isinstance(result, BaseException)] == [VersionMismatch]
    assert [result for result in found if isinstance(result, User)] == [await world.user(world.ada.id)]


async def test_time_of_change_never_goes_back(world: World) -> None:
    """A clock that was set back does not make a user look older than it was."""
    world.clock.advance(-3600)

    assert (await world.change(world.ada, world.ada, name="x")).updated_at == world.ada.updated_at


# The last administrator


@pytest.mark.parametrize("fields", [{"role": "member"}, {"active": False}, {"role": "member", "active": False}])
async def test_last_admin_stays(world: World, fields: dict[str, Any]) -> None:
    """The last active administrator can be neither demoted nor deactivated nor deleted, not even by itself."""
    idle = await world.change(world.admin, world.bob, role="admin", active=False)
    with pytest.raises(LastAdmin):
        await world.change(world.admin, world.admin, **fields)
    with pytest.raises(LastAdmin):
        await world.delete(world.admin, world.admin)
    assert await world.user(world.admin.id) == world.admin

    # An inactive one does not count; it may go, and once active the first may.
    second = await world.change(world.admin, idle, active=True)
    assert not (await world.change(second, world.admin, **fields)).is_active_admin


async def test_two_admins_cannot_demote_each_other_at_once(world: World) -> None:
    """When the last two administrators demote or delete each other at the same time, one remains."""
    other = await world.change(world.admin, world.bob, role="admin")
    found = await asyncio.gather(
        world.change(world.admin, other, role="member"), world.delete(other, world.admin), return_exceptions=True
    )

    assert [type(result) for result in found if isinstance(result, BaseException)] == [LastAdmin]


async def test_inactive_admin_may_be_deleted(world: World) -> None:
    """An administrator who is not active is not the one that has to stay."""
    await world.change(world.admin, world.bob, role="admin", active=False)
    await world.delete(world.admin, world.bob)

    assert (await world.store.users.find(world.bob.id)).value is None


# What ends with them


async def test_deactivation_ends_every_session(world: World) -> None:
    """Deactivating a user ends its sessions, each with its event, in the same write."""
    sessions = [await world.session_of(world.ada) for _ in range(3)]
    others = await world.session_of(world.bob)
    before = await world.head()
    after = await world.change(world.admin, world.ada, active=False)

    events = await world.log(before)
    assert [event.type for event in events] == ["user.updated"] + ["session.ended"] * 3
    assert {event.session_id for event in events[1:]} == {session.id for session in sessions}
    assert {(event.reason, event.actor, event.subject) for event in events[1:]} == {
        ("deactivated", world.admin.id, world.ada.id)
    }
    assert [await world.store.sessions.find_with_user(session.id) for session in sessions] == [None] * 3
    assert await world.store.sessions.find_with_user(others.id) is not None
    assert after.version == before + 1


@pytest.mark.parametrize("fields", [{"role": "admin"}, {"name": "x"}, {"username": "ada2"}])
async def test_other_changes_leave_sessions(world: World, fields: dict[str, Any]) -> None:
    """A change of role or name revokes no session."""
    session = await world.session_of(world.ada)
    after = await world.change(world.admin, world.ada, **fields)

    assert await world.store.sessions.find_with_user(session.id) == (session, after)


async def test_deletion_takes_everything(world: World) -> None:
    """Deleting a user ends its sessions, then removes it, with an event for each, and leaves no copy in the log."""
    session = await world.session_of(world.ada)
    before = await world.head()
    gone = await accounts.delete(world.store, world.clock, BY, caller(world.ada), world.ada.id, None)

    events = await world.log(before)
    assert [(event.type, event.reason) for event in events] == [("session.ended", "deleted"), ("user.deleted", None)]
    assert {(event.actor, event.subject) for event in events} == {(world.ada.id, world.ada.id)}
    assert gone.position.seq == events[-1].seq
    assert (await world.store.users.find(world.ada.id)).value is None
    assert await world.store.sessions.find_with_user(session.id) is None
    assert await world.store.users.find_by_login("ada") is None
    assert [event.user for event in await world.log() if event.subject == world.ada.id] == [None, None, None]


# The first administrator


async def test_first_admin_is_made_once() -> None:
    """Without an administrator one is created, without an actor; with one nothing happens."""
    clock = ManualClock()
    store, hasher = MemoryStore(clock), PlainHasher()
    admin = NewUser("root", "root@example.com", role="admin", password="root's password")

    assert await accounts.ensure_admin(store, hasher, clock, admin)
    assert not await accounts.ensure_admin(store, hasher, clock, replace(admin, username="root2"))

    (event,) = (await store.events.list_page(EventQuery(0, 10))).events
    assert (event.type, event.actor) == ("user.created", None)
    found = await store.users.find_by_login("root")
    assert found is not None
    assert (found.user, found.password_hash) == (event.user, "hash of root's password")
    assert found.user.is_active_admin


async def test_first_admin_does_not_displace_a_member() -> None:
    """If a member has the administrator's name, that account is unchanged, and the log says so."""
    clock = ManualClock()
    store = MemoryStore(clock)
    await keep(store, a_user(username="root"))
    admin = NewUser("root", "root@example.com", role="admin", password="root's password")

    with pytest.raises(AlreadyExists):
        await accounts.ensure_admin(store, PlainHasher(), clock, admin)


def test_callers_see_themselves_and_admins_everybody() -> None:
    """A member sees its own id and no other, an administrator any."""
    me, other = uuid.uuid4(), uuid.uuid4()

    assert [Caller(me, "member").can_view(user) for user in (me, other)] == [True, False]
    assert [Caller(me, "admin").can_view(user) for user in (me, other)] == [True, True]
