"""The outcome of import lines: refusals and edge cases, on the memory store."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service.domain.errors import AlreadyExists, Conflict, DomainError, IdDeleted, LastAdmin, OwnCredentials
from service.domain.users import bulk_import
from service.domain.users.bulk_import import BatchResult, ImportLine, OnConflict
from service.domain.users.user import User
from tests.support.domain import BY, a_user, keep
from tests.support.member import PASSWORD, Member
from tests.support.stores import erase

OLD_HASH, NEW_HASH = f"hash of {PASSWORD}", "a hash made elsewhere"


class World(Member):
    """The account `ada`, which is the last active administrator where a test says so, and an import by `actor`."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = uuid.uuid4()

    def line(self, number: int = 1, **fields: Any) -> ImportLine:
        """A line about ada that changes nothing, but for these fields."""
        return replace(ImportLine(number, "ada", "ada@example.com", {}), **fields)

    async def import_batch(
        self, *lines: ImportLine, on_conflict: OnConflict = "update", actor: UUID | None = None
    ) -> BatchResult:
        by = actor or self.actor
        return await bulk_import.import_batch(self.store, self.clock, BY, by, lines, on_conflict, uuid.uuid4())

    async def user(self, user_id: UUID) -> User:
        found = (await self.store.users.find(user_id)).value
        assert found is not None
        return found


@pytest.fixture
async def world() -> World:
    world = World()
    await world.create()
    return world


def refusals(batch: BatchResult) -> dict[int, type[DomainError]]:
    return {number: type(refusal) for number, refusal in batch.refused}


def counts(batch: BatchResult) -> tuple[int, int, int, int]:
    return batch.created, batch.updated, batch.skipped, len(batch.refused)


# Which user a line is about


async def test_id_decides_before_address_and_username(world: World) -> None:
    """A line with the id of a user renames that user; its new names belong to no other."""
    await world.import_batch(world.line(id=world.ada.id, username="ada2", email="ada2@example.com"))
    ada = await world.user(world.ada.id)
    assert (ada.username, ada.email) == ("ada2", "ada2@example.com")


async def test_address_decides_before_username(world: World) -> None:
    """A line with the address of one user and the username of another is refused: it would take a username away."""
    bob = a_user(username="bob", email="bob@example.com")
    await keep(world.store, bob)
    batch = await world.import_batch(world.line(username="bob"))
    (refusal,) = [refusal for _, refusal in batch.refused]
    assert isinstance(refusal, AlreadyExists)
    assert refusal.fields == ("username",)
    assert (await world.user(world.ada.id)).username == "ada"


async def test_unknown_id_beside_a_known_address_changes_no_id(world: World) -> None:
    """The user with the address is updated and keeps its own id."""
    batch = await world.import_batch(world.line(id=uuid.uuid4(), profile={"name": "Ada"}))
    assert counts(batch) == (0, 1, 0, 0)
    assert (await world.user(world.ada.id)).name == "Ada"


async def test_id_of_one_user_with_the_names_of_another_is_refused(world: World) -> None:
    """An account is not overwritten through another account's id."""
    bob = a_user(username="bob", email="bob@example.com")
    await keep(world.store, bob)
    batch = await world.import_batch(world.line(id=bob.id, password_hash=NEW_HASH))
    (refusal,) = [refusal for _, refusal in batch.refused]
    assert isinstance(refusal, AlreadyExists)
    assert refusal.fields == ("username", "email")
    assert await world.password_hash() == OLD_HASH


async def test_deleted_id_is_refused_only_for_a_new_user(world: World) -> None:
    """A deleted id beside the address of a user who exists updates that user; beside new names it is refused."""
    gone = a_user()
    await keep(world.store, gone)
    await erase(world.store, gone)
    new = ImportLine(2, "new", "new@example.com", {}, id=gone.id)
    batch = await world.import_batch(world.line(id=gone.id, profile={"age": 36}), new)
    assert refusals(batch) == {2: IdDeleted}
    assert (await world.user(world.ada.id)).age == 36
    assert await world.store.users.find_by_login("new") is None


# Lines that depend on lines before them


async def test_username_that_a_line_gives_up_is_free_for_the_next(world: World) -> None:
    """Lines are carried out in their order: before a rename the username stands for its user, after it for a new one."""
    early, late = (ImportLine(number, "ada", f"new{number}@example.com", {}) for number in (1, 3))
    rename = world.line(2, id=world.ada.id, username="ada2")
    batch = await world.import_batch(early, rename, late, on_conflict="update")
    # The first line moves the address of ada, and the second moves it back.
    assert refusals(batch) == {}
    assert counts(batch) == (1, 2, 0, 0)
    found = await world.store.users.find_by_login("ada")
    assert found is not None
    assert found.user.email == "new3@example.com"
    assert (await world.user(world.ada.id)).email == "ada@example.com"


async def test_user_that_a_line_creates_is_there_for_the_next(world: World) -> None:
    """A second line about a new user is a conflict like any other."""
    line = ImportLine(1, "new", "new@example.com", {"name": "one"}, id=uuid.uuid4())
    again = replace(line, number=2, profile={"name": "two"})
    batch = await world.import_batch(line, again, on_conflict="error")
    (refusal,) = [refusal for _, refusal in batch.refused]
    assert isinstance(refusal, AlreadyExists)
    assert refusal.fields == ("id", "username", "email")
    batch = await world.import_batch(replace(again, number=1), replace(line, number=2))
    assert counts(batch) == (0, 2, 0, 0)


async def test_refused_line_leaves_nothing_for_the_next(world: World) -> None:
    """A refused line takes no names: a later line may have the names that it asked for."""
    bob = a_user(username="bob", email="bob@example.com")
    await keep(world.store, bob)
    refused = ImportLine(1, "new", "bob@example.com", {}, id=world.ada.id)
    batch = await world.import_batch(refused, ImportLine(2, "new", "new@example.com", {}))
    assert refusals(batch) == {1: AlreadyExists}
    assert batch.created == 1


# Accounts that must not be lost or taken over


@pytest.mark.parametrize("given", [{"role": "member"}, {"active": False}, {"role": "member", "active": False}])
async def test_last_active_administrator_is_not_taken_away(world: World, given: dict[str, Any]) -> None:
    """Neither demotion nor deactivation; the line is refused as a whole, with its new name and password."""
    await keep(world.store, replace(world.ada, role="admin"))
    batch = await world.import_batch(world.line(profile={**given, "name": "Ada"}, password_hash=NEW_HASH))
    assert refusals(batch) == {1: LastAdmin}
    ada = await world.user(world.ada.id)
    assert (ada.role, ada.active, ada.name) == ("admin", True, "")
    assert await world.password_hash() == OLD_HASH
    assert await world.sessions() == {world.here.id, world.elsewhere.id}
    assert await world.mails() == []


async def test_of_two_administrators_one_stays(world: World) -> None:
    """Lines that each take one administrator away count those that lines before them took."""
    bob = a_user(username="bob", email="bob@example.com", role="admin")
    await keep(world.store, replace(world.ada, role="admin"), bob)
    batch = await world.import_batch(
        world.line(1, profile={"role": "member"}), ImportLine(2, "bob", "bob@example.com", {"active": False})
    )
    assert refusals(batch) == {2: LastAdmin}
    assert (await world.user(bob.id)).is_active_admin


async def test_inactive_administrator_does_not_count(world: World) -> None:
    """An administrator that cannot log in is no reason to let the last active one go."""
    await keep(world.store, replace(world.ada, role="admin"), a_user(role="admin", active=False))
    batch = await world.import_batch(world.line(profile={"role": "member"}))
    assert refusals(batch) == {1: LastAdmin}


@pytest.mark.parametrize("fields", [{"email": "new@example.com"}, {"password_hash": NEW_HASH}])
@pytest.mark.parametrize("by_id", [True, False])
async def test_own_credentials_stay_whatever_names_the_actor(world: World, fields: dict[str, Any], by_id: bool) -> None:
    """A line about the actor, found by id or by username, changes neither its address nor its password, nor anything else."""
    line = world.line(profile={"name": "Ada"}, id=world.ada.id if by_id else None, **fields)
    batch = await world.import_batch(line, actor=world.ada.id)
    assert refusals(batch) == {1: OwnCredentials}
    ada = await world.user(world.ada.id)
    assert (ada.email, ada.name) == ("ada@example.com", "")
    assert await world.password_hash() == OLD_HASH


async def test_exported_line_about_the_actor_passes(world: World) -> None:
    """The actor's own address and hash as they are change nothing; the name in the same line is carried out."""
    line = world.line(id=world.ada.id, profile={"name": "Ada"}, password_hash=OLD_HASH)
    batch = await world.import_batch(line, actor=world.ada.id)
    assert counts(batch) == (0, 1, 0, 0)
    assert (await world.user(world.ada.id)).name == "Ada"
    assert await world.sessions() == {world.here.id, world.elsewhere.id}


async def test_line_whose_password_was_not_hashed_creates_no_account(world: World) -> None:
    """A line whose user was deleted while it was read is refused, so that no account lacks the password it should have."""
    line = ImportLine(1, "new", "new@example.com", {}).without_hash()
    batch = await world.import_batch(line, on_conflict="skip")
    assert refusals(batch) == {1: Conflict}
    assert await world.store.users.find_by_login("new") is None


# What follows from a change


async def test_new_password_ends_sessions_and_mailed_links(world: World) -> None:
    """The owner is notified by mail, the audit has an entry, sessions and links end, and API tokens stay."""
    presented = await world.mail_token("reset")
    await world.import_batch(world.line(password_hash=NEW_HASH))
    assert await world.password_hash() == NEW_HASH
    assert await world.sessions() == set()
    assert await world.tokens() == {world.token.id}
    assert await world.store.mail_tokens.find("reset", presented) is None
    assert await world.mails() == [("changed", "ada@example.com")]
    assert {(event.reason, event.actor) for event in await world.ends()} == {("password", world.actor)}
    assert "password.changed" in await world.audited()


async def test_new_address_is_announced_at_the_earlier_one(world: World) -> None:
    """The mail goes to the address that the account had; its sessions stay."""
    await world.import_batch(world.line(email="new@example.com"))
    assert await world.mails() == [("moved", "ada@example.com")]
    assert await world.sessions() == {world.here.id, world.elsewhere.id}


async def test_deactivation_beside_a_new_password_ends_tokens_too(world: World) -> None:
    """Deactivation ends more than a new password, so it decides the reason where a line brings both."""
    await world.import_batch(world.line(profile={"active": False}, password_hash=NEW_HASH))
    assert (await world.sessions(), await world.tokens()) == (set(), set())
    assert {event.reason for event in await world.ends()} == {"deactivated"}
    assert len(await world.ends()) == 3


@pytest.mark.parametrize("on_conflict", ["skip", "error"])
async def test_existing_user_is_left_alone_unless_updates_are_asked_for(world: World, on_conflict: OnConflict) -> None:
    """With `skip` and `error` neither password nor fields change, and nothing is mailed."""
    position = await world.store.events.read_position()
    batch = await world.import_batch(
        world.line(profile={"role": "admin"}, password_hash=NEW_HASH), on_conflict=on_conflict
    )
    assert (batch.skipped, refusals(batch)) == ((1, {}) if on_conflict == "skip" else (0, {1: AlreadyExists}))
    assert batch.position == position
    assert await world.password_hash() == OLD_HASH
    assert await world.mails() == []


async def test_line_that_changes_nothing_is_no_event(world: World) -> None:
    """An update with the values and the hash that are stored is skipped and leaves the log as it is."""
    position = await world.store.events.read_position()
    batch = await world.import_batch(world.line(profile={"name": "", "active": True}, password_hash=OLD_HASH))
    assert counts(batch) == (0, 0, 1, 0)
    assert batch.position == position
    assert (await world.user(world.ada.id)).updated_at == world.ada.updated_at


async def test_password_alone_is_no_event_about_the_user(world: World) -> None:
    """A new hash leaves version and time of change as they are: nothing that others may see has changed."""
    before = await world.user(world.ada.id)
    world.clock.advance(60)
    await world.import_batch(world.line(password_hash=NEW_HASH))
    assert await world.user(world.ada.id) == before


@pytest.mark.parametrize("moved_s", [-3600, 0, 3600])
async def test_time_of_change_never_goes_back(world: World, moved_s: float) -> None:
    """`updated_at` is the time of the import, or the earlier value where the clock was set back."""
    now = world.ada.updated_at
    world.clock.now = now + timedelta(seconds=moved_s)
    await world.import_batch(world.line(profile={"name": "Ada"}))
    assert (await world.user(world.ada.id)).updated_at == max(now, world.clock())


# there


async def test_any_of_its_names_makes_a_line_one_about_an_existing_user(world: World) -> None:
    """Id, address and username each count; a line with none of them is about a new user."""
    new = ImportLine(1, "new", "new@example.com", {}, id=uuid.uuid4())
    assert not await bulk_import.has_account(world.store, new)
    assert await bulk_import.has_account(world.store, replace(new, id=world.ada.id))
    assert await bulk_import.has_account(world.store, replace(new, email="ada@example.com"))
    assert await bulk_import.has_account(world.store, replace(new, username="ada"))
    assert not await bulk_import.has_account(world.store, replace(new, id=None))
