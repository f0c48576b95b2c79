"""The outcome of import lines, on every store."""

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

from service.domain.errors import AlreadyExists, Conflict, DomainError, IdDeleted, LastAdmin, OwnCredentials
from service.domain.events.event import Event
from service.domain.ports import Store
from service.domain.users import bulk_import
from service.domain.users.bulk_import import BatchResult, ImportLine, OnConflict
from service.domain.users.query import UserQuery
from service.domain.users.user import User
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.drawn import examples
from tests.support.stores import Opener, a_session, a_token, erase, keep_session, keep_token, whole_log

ADMIN = uuid.UUID(int=99)
SLOTS = [uuid.UUID(int=number) for number in range(1, 5)]
POLICIES = st.sampled_from(["skip", "update", "error"])


def a_line(number: int = 1, name: str = "ada", /, **fields: Any) -> ImportLine:
    line = ImportLine(
        number, fields.pop("username", name), fields.pop("email", f"{name}@example.com"), fields.pop("profile", {})
    )
    return replace(line, **fields)


async def import_batch(
    store: Store, clock: ManualClock, lines: Sequence[ImportLine], on_conflict: OnConflict = "error"
) -> BatchResult:
    return await bulk_import.import_batch(store, clock, BY, ADMIN, lines, on_conflict, uuid.uuid4())


async def everybody(store: Store) -> list[User]:
    return list((await store.users.list_page(UserQuery(100, "username"))).value)


async def hash_of(store: Store, login: str) -> str | None:
    credentials = await store.users.find_by_login(login)
    return None if credentials is None else credentials.password_hash


def reasons(batch: BatchResult) -> list[tuple[int, type[DomainError], tuple[str, ...]]]:
    return [(number, type(error), getattr(error, "fields", ())) for number, error in batch.refused]


LINES = st.lists(
    st.builds(
        lambda id, username, email, profile, password_hash: ImportLine(
            0, username, f"{email}@example.com", profile, id, None, password_hash
        ),
        id=st.none() | st.sampled_from(SLOTS),
        username=st.sampled_from(["ada", "bob", "eve"]),
        email=st.sampled_from(["ada", "bob", "eve"]),
        profile=st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["", "A", "B"]),
                "role": st.sampled_from(["member", "admin"]),
                "active": st.booleans(),
            },
        ),
        password_hash=st.none() | st.sampled_from(["one", "two"]),
    ),
    max_size=12,
).map(lambda lines: [replace(line, number=number) for number, line in enumerate(lines, 1)])


@pytest.mark.timeout(180)  # eighty times two stores, of which each makes its tables
@examples(80)
@given(lines=LINES, on_conflict=POLICIES)
async def test_batch_is_what_its_lines_are_one_by_one(
    opener: Opener, lines: list[ImportLine], on_conflict: OnConflict
) -> None:
    """Whatever lines stand together, what becomes of them is what becomes of each by itself, in their order."""
    clock = ManualClock()
    async with opener(clock) as together, opener(clock) as apart:
        root = a_user(id=uuid.UUID(int=50), username="root", email="root@example.com", role="admin")
        for store in (together, apart):
            await keep(store, root)
        batch = await import_batch(together, clock, lines, on_conflict)
        single = [await import_batch(apart, clock, [line], on_conflict) for line in lines]

        for count in ("created", "updated", "skipped"):
            assert getattr(batch, count) == sum(getattr(each, count) for each in single)
        assert reasons(batch) == [reason for each in single for reason in reasons(each)]
        assert (await together.events.read_position()).seq == (await apart.events.read_position()).seq
        assert [_known(user) for user in await everybody(together)] == [_known(user) for user in await everybody(apart)]
        for name in ("ada", "bob", "eve"):
            assert await hash_of(together, name) == await hash_of(apart, name)
        assert [_comparable(event) for event in await whole_log(together)] == [
            _comparable(event) for event in await whole_log(apart)
        ]


def _known(user: User) -> User:
    """Without an id that was made up for it."""
    return user if user.id in SLOTS else replace(user, id=uuid.UUID(int=0))


def _comparable(event: Event) -> Event:
    user = event.user and _known(event.user)
    return replace(event, user=user, subject=event.subject if event.subject in SLOTS else uuid.UUID(int=0))


async def test_line_makes_a_user(store: Store, clock: ManualClock) -> None:
    """A line about an unknown user creates it from the line, with the import as source, and records an event."""
    batch = await import_batch(store, clock, [a_line(profile={"name": "Ada", "age": 36}, password_hash="hash")])

    (ada,) = await everybody(store)
    assert (ada.username, ada.email, ada.name, ada.age) == ("ada", "ada@example.com", "Ada", 36)
    assert (ada.role, ada.active, ada.created_at, ada.updated_at) == ("member", True, clock(), clock())
    assert await hash_of(store, "ada") == "hash"
    assert await whole_log(store) == [Event("user.created", clock(), ADMIN, ada.id, ada, seq=1)]
    assert (batch.created, batch.updated, batch.skipped, batch.refused) == (1, 0, 0, [])
    assert batch.position == await store.events.read_position()


async def test_id_and_age_of_an_account_are_kept(store: Store, clock: ManualClock) -> None:
    """An account moves with its id and the time when it was made; one that lies ahead is now."""
    then = clock() - timedelta(days=1_000)
    await import_batch(
        store,
        clock,
        [
            a_line(1, "ada", id=SLOTS[0], created_at=then),
            a_line(2, "bob", id=SLOTS[1], created_at=clock() + timedelta(days=1)),
        ],
    )

    ada, bob = await everybody(store)
    assert (ada.id, ada.created_at, ada.updated_at) == (SLOTS[0], then, clock())
    assert (bob.id, bob.created_at) == (SLOTS[1], clock())


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"email": "else@example.com"}, ("username",)),
        ({"username": "else"}, ("email",)),
        ({}, ("username", "email")),
        ({"id": SLOTS[0], "username": "else", "email": "else@example.com"}, ("id",)),
        ({"id": SLOTS[0]}, ("id", "username", "email")),
    ],
)
async def test_taken_names(store: Store, clock: ManualClock, fields: dict[str, Any], taken: tuple[str, ...]) -> None:
    """A line about an existing user is refused, naming the duplicate, or skipped, as requested; nothing is written."""
    await keep(store, a_user(id=SLOTS[0], username="ada", email="ada@example.com"))
    before = await store.events.read_position()

    assert reasons(await import_batch(store, clock, [a_line(7, **fields)])) == [(7, AlreadyExists, taken)]
    assert (await import_batch(store, clock, [a_line(7, **fields)], "skip")).skipped == 1
    assert await store.events.read_position() == before


async def test_update_changes_what_the_line_says(store: Store, clock: ManualClock) -> None:
    """Found by id, then by address, then by username; what the line does not say stays; no change is no event."""
    ada = a_user(id=SLOTS[0], username="ada", email="ada@example.com", name="Ada", age=36)
    await keep(store, ada)
    for line, changed in (
        (a_line(profile={"name": "Ada King"}), ("name",)),
        (a_line(username="countess"), ("username",)),
        (a_line(username="countess", email="new@example.com"), ("email",)),
        (a_line(id=SLOTS[0], username="ada", profile={"age": None}), ("username", "email", "age")),
    ):
        assert (await import_batch(store, clock, [line], "update")).updated == 1
        assert (await whole_log(store))[-1].changed == changed
    before = await store.events.read_position()
    assert (await import_batch(store, clock, [a_line(profile={"age": None})], "update")).skipped == 1
    assert await store.events.read_position() == before

    (ada,) = await everybody(store)
    assert (ada.username, ada.email, ada.name, ada.age) == ("ada", "ada@example.com", "Ada King", None)


async def test_update_takes_nothing_from_others(store: Store, clock: ManualClock) -> None:
    """A line that names two accounts is refused."""
    await keep(store, a_user(username="ada", email="ada@example.com"), a_user(username="bob", email="bob@example.com"))

    batch = await import_batch(store, clock, [a_line(3, username="bob")], "update")
    assert reasons(batch) == [(3, AlreadyExists, ("username",))]


async def test_last_administrator_stays(store: Store, clock: ManualClock) -> None:
    """No line takes the last active administrator away; one that follows a new administrator may."""
    await keep(store, a_user(username="root", email="root@example.com", role="admin"))
    demote, ada = a_line(1, "root", profile={"role": "member"}), a_line(2, "ada", profile={"role": "admin"})

    batch = await import_batch(
        store, clock, [demote, ada, replace(demote, number=3), a_line(4, profile={"active": False})], "update"
    )
    assert reasons(batch) == [(1, LastAdmin, ()), (4, LastAdmin, ())]
    assert [(user.username, user.role) for user in await everybody(store)] == [("ada", "admin"), ("root", "member")]


async def test_deactivation_ends_api_tokens(store: Store, clock: ManualClock) -> None:
    """An update that deactivates ends those of that user, each with its event; another password ends none."""
    ada, bob = a_user(username="ada", email="ada@example.com"), a_user(username="bob", email="bob@example.com")
    await keep(store, ada, bob)
    await keep_token(store, of_ada := a_token(ada, clock()), of_bob := a_token(bob, clock()))
    await import_batch(
        store, clock, [a_line(password_hash="new"), a_line(2, "bob", profile={"active": False})], "update"
    )

    endings = await whole_log(store, types=frozenset({"token.ended"}))
    assert [(event.token_id, event.reason) for event in endings] == [(of_bob.id, "deactivated")]
    assert await store.api_tokens.list_of_user(ada.id) == [of_ada]
    assert await store.api_tokens.list_of_user(bob.id) == []


async def test_new_password_ends_sessions(store: Store, clock: ManualClock) -> None:
    """An update that brings another password, or deactivates, ends the sessions of that user, each with its event."""
    ada, bob = a_user(username="ada", email="ada@example.com"), a_user(username="bob", email="bob@example.com")
    await keep(store, ada, bob)
    await keep_session(store, a_session(ada, clock()), a_session(bob, clock()))
    await import_batch(
        store, clock, [a_line(password_hash="new"), a_line(2, "bob", profile={"active": False})], "update"
    )

    endings = [event for event in await whole_log(store) if event.type == "session.ended"]
    assert [(event.subject, event.reason) for event in endings] == [(ada.id, "password"), (bob.id, "deactivated")]
    before = await store.events.read_position()
    assert (await import_batch(store, clock, [a_line(password_hash="new")], "update")).skipped == 1
    assert await store.events.read_position() == before


async def test_no_user_is_created_without_the_intended_password(store: Store, clock: ManualClock) -> None:
    """A password that was not hashed because the user existed creates no account once the user is gone."""
    assert await bulk_import.has_account(store, a_line()) is False
    batch = await import_batch(store, clock, [a_line(4).without_hash()], "skip")

    assert reasons(batch) == [(4, Conflict, ())]
    await import_batch(store, clock, [a_line(id=SLOTS[0])])
    for line in (a_line(), a_line(username="else"), a_line(email="e@example.com"), a_line(1, "else", id=SLOTS[0])):
        assert await bulk_import.has_account(store, line)


async def test_refused_lines_leave_the_others(store: Store, clock: ManualClock) -> None:
    """Names that stand twice in a batch are like names that were there: the first has them."""
    lines = [
        a_line(1),
        a_line(2),
        a_line(3, "bob"),
        a_line(4, email="else@example.com"),
        a_line(5, "eve", username="bob"),
    ]
    batch = await import_batch(store, clock, lines)

    assert [number for number, _ in batch.refused] == [2, 4, 5]
    assert [user.username for user in await everybody(store)] == ["ada", "bob"]


async def test_log_is_held_for_an_import(opener: Opener, clock: ManualClock) -> None:
    """The events of an import stay in the log until a little after its end, or until its hold expires."""
    name = uuid.uuid4()

    async with opener(clock, keep_events=10) as store:
        await keep(store, a_user())
        assert await bulk_import.retain_events(store, clock, BY, ADMIN, name) == await store.events.read_position()
        for start in range(0, 60, 20):
            lines = [a_line(number, f"p{number}") for number in range(start, start + 20)]
            await bulk_import.import_batch(store, clock, BY, ADMIN, lines, "error", name)
            clock.advance(200)
        assert [event.seq for event in await whole_log(store)][-60:] == list(range(2, 62))
        await bulk_import.release_events(store, clock, BY, ADMIN, name, {})
        clock.advance(6)
        await keep(store, a_user())
        assert len(await whole_log(store)) < 60


async def test_id_of_a_deleted_user_is_refused_while_its_events_are_held(opener: Opener, clock: ManualClock) -> None:
    """A new owner of an old id would read the events about the user before: the line is refused until the log has forgotten
    them, and lines beside it are carried out."""
    async with opener(clock, keep_events=10) as store:
        ada = a_user(username="ada", email="ada@example.com")
        await keep(store, ada)
        await erase(store, ada)

        batch = await import_batch(store, clock, [a_line(1, "eve", id=ada.id), a_line(2, "bob", id=SLOTS[1])], "update")
        assert (batch.created, reasons(batch)) == (1, [(1, IdDeleted, ())])
        # Events about the user, and its deletion, leave the log together.
        for _ in range(30):
            await keep(store, a_user())
        assert (await import_batch(store, clock, [a_line(1, "eve", id=ada.id)])).created == 1


async def test_import_in_the_write_after_a_deletion_knows_of_it(opener: Opener, clock: ManualClock) -> None:
    """Also where both writes share a commit."""
    async with opener(clock) as store:
        ada = a_user()
        await keep(store, ada)
        _, batch = await asyncio.gather(erase(store, ada), import_batch(store, clock, [a_line(1, "eve", id=ada.id)]))
        assert reasons(batch) == [(1, IdDeleted, ())]


async def test_own_credentials_are_not_changed(store: Store, clock: ManualClock) -> None:
    """A line that would change the e-mail address or the password of the actor, which takes its current password elsewhere, is
    refused; what else it says of the actor, and the address and hash as they are, pass."""
    root = a_user(id=ADMIN, username="root", email="root@example.com", role="admin")
    await keep(store, root)
    mine = a_line(1, "root", id=ADMIN)
    hijack = [replace(mine, email="eve@example.com"), replace(mine, number=2, password_hash="hash")]
    batch = await import_batch(store, clock, hijack, "update")
    assert (batch.updated, reasons(batch)) == (0, [(1, OwnCredentials, ()), (2, OwnCredentials, ())])
    assert await hash_of(store, "root") is None

    batch = await import_batch(store, clock, [mine, replace(mine, number=2, profile={"name": "Root"})], "update")
    assert (batch.skipped, batch.updated, batch.refused) == (1, 1, [])


async def test_owner_is_notified_of_a_changed_address_and_password(store: Store, clock: ManualClock) -> None:
    """As where another way leads to the change: a mail to the address that the account had."""
    ada = a_user(username="ada", email="ada@example.com")
    await keep(store, ada)
    await import_batch(store, clock, [a_line(1, "ada", profile={"name": "Ada"})], "update")
    assert await store.mails.list_due(clock(), 10) == []

    await import_batch(store, clock, [a_line(1, "ada", email="lovelace@example.com", password_hash="hash")], "update")
    mails = await store.mails.list_due(clock(), 10)
    assert {(mail.kind, mail.email) for mail in mails} == {("changed", ada.email), ("moved", ada.email)}
