"""The promises of every store, tested against `Store` alone; its lists, its log and a model have files of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.domain.auth.sessions import Origin, Session, rotated
from service.domain.errors import AlreadyExists
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventQuery
from service.domain.ports import Snapshot, Store, Transaction
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.security.keys import generate_key
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.keys import a_key
from tests.support.stores import Broken, Opener, a_session, ask, erase, keep_session, whole_log

# An empty store


async def test_empty_store_stands_before_the_first_event(store: Store) -> None:
    """A new log has an epoch, seq 0, no event, and will begin with 1."""
    position = await store.events.read_position()
    page = await store.events.list_page(EventQuery(0, 10))

    assert position.seq == 0
    assert Position.parse(str(position)) == position
    assert (list(page.events), page.seen, page.first, page.position) == ([], 0, 1, position)
    assert list((await store.users.list_page(UserQuery(10))).value) == []
    assert await store.is_healthy()


async def test_every_log_has_an_epoch_of_its_own(opener: Opener, clock: ManualClock) -> None:
    """Positions of one log mean nothing in another."""
    async with opener(clock) as one, opener(clock) as other:
        assert (await one.events.read_position()).epoch != (await other.events.read_position()).epoch


async def test_what_is_not_there_is_none(store: Store, clock: ManualClock) -> None:
    """Unknown users, logins, sessions and tickets are None, read or inside a write."""
    nobody = uuid.uuid4()

    assert await store.users.find(nobody) == Snapshot(None, await store.events.read_position())
    assert await store.users.find_by_login("absent") is None
    assert await store.users.find_by_login("absent\0") is None
    assert await store.sessions.find_with_user(nobody) is None
    assert await store.tickets.consume(b"ticket", clock()) is None

    async def work(transaction: Transaction) -> list[object]:
        return [
            await transaction.users.find(nobody),
            await transaction.users.find_credentials(nobody),
            await transaction.sessions.find(nobody),
            list(await transaction.sessions.list_of_user(nobody)),
            await transaction.users.count_active_admins(),
        ]

    assert await ask(store, work) == [None, None, None, [], 0]


async def test_removing_what_is_not_there_is_harmless(store: Store) -> None:
    """Deleting an unknown user or session does nothing."""

    async def work(transaction: Transaction) -> None:
        await transaction.users.delete(uuid.uuid4())
        await transaction.sessions.delete(uuid.uuid4())

    assert (await store.write(work, BY)).events == ()


# Writes


async def test_write_commits_rows_with_events(store: Store) -> None:
    """The changes of a write are readable after it, its events have the next seqs, and users the version of theirs."""
    ada, bob = a_user(), a_user()
    before = await store.events.read_position()
    written = await keep(store, ada, bob)

    assert [event.seq for event in written.events] == [before.seq + 1, before.seq + 2]
    assert written.position == await store.events.read_position() == Position(before.epoch, before.seq + 2)
    assert [event.user for event in written.events] == [ada.at(before.seq + 1), bob.at(before.seq + 2)]
    assert await store.users.find(ada.id) == Snapshot(ada.at(before.seq + 1), written.position)
    assert await whole_log(store) == list(written.events)


async def test_fields_come_back_as_they_went_in(store: Store) -> None:
    """Any text, number and time of a user and of a session survives, to the code point and the microsecond."""
    clock = ManualClock()
    clock.advance(0.000001)
    ada = a_user(
        username="a.d_a-1",
        email="zoë+tag@bücher.example",
        name="Zoë 🦊 'x'; -- \N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH JOINER}",
        age=0,
        role="admin",
        active=False,
        created_at=clock(),
        updated_at=clock() + timedelta(microseconds=999_999),
    )
    session = a_session(
        ada,
        clock(),
        generation=7,
        secret=bytes(range(32)),
        absolute_expires_at=clock(),
        origin=Origin("2001:db8::1", "Fox 🦊"),
    )
    event = Event("session.ended", clock(), None, ada.id, session_id=uuid.uuid4(), reason="reuse")

    async def work(transaction: Transaction) -> None:
        await transaction.users.save(ada)
        await transaction.users.set_password(ada.id, "$argon2id$v=19$…")
        await transaction.sessions.save(session)
        await transaction.events.append(replace(created(ada), actor=None))
        await transaction.events.append(replace(updated(ada), changed=("name", "age")))
        await transaction.events.append(event)

    written = await store.write(work, BY)
    kept = ada.at(2)

    assert (await store.users.find(ada.id)).value == kept
    assert await store.users.find_by_login("zoë+tag@bücher.example") == Credentials(kept, "$argon2id$v=19$…")
    assert await store.sessions.find_with_user(session.id) == (session, kept)
    assert await whole_log(store) == list(written.events)
    assert written.events[1].changed == ("name", "age")
    assert written.events[2] == event.at(3)


async def test_write_returns_what_its_work_returned(store: Store) -> None:
    """The value of a write is that of its work; one that appends nothing leaves the log where it was."""
    before = await store.events.read_position()

    async def work(transaction: Transaction) -> str:
        return "done"

    written = await store.write(work, BY)
    assert (written.value, written.events, written.position) == ("done", (), before)


async def test_write_sees_what_it_did(store: Store, clock: ManualClock) -> None:
    """Inside a write everything that it changed reads as changed."""
    ada, admin = a_user(), a_user(role="admin")
    await keep(store, ada)
    session = a_session(ada, clock())
    seen: list[object] = []

    async def work(transaction: Transaction) -> None:
        renamed = replace(ada, username="renamed")
        await transaction.users.save(renamed)
        await transaction.users.set_password(ada.id, "a hash")
        await transaction.users.save(admin)
        await transaction.sessions.save(session)
        found = await transaction.users.find_credentials(ada.id)
        assert found is not None
        seen.extend((found.user.username, found.password_hash, await transaction.users.count_active_admins()))
        seen.extend(
            (await transaction.sessions.find(session.id), list(await transaction.sessions.list_of_user(ada.id)))
        )
        await transaction.users.save(replace(admin, active=False))
        await transaction.sessions.delete(session.id)
        seen.extend((await transaction.users.count_active_admins(), await transaction.sessions.find(session.id)))
        await transaction.users.delete(ada.id)
        seen.extend((await transaction.users.find(ada.id), await transaction.users.find_credentials(ada.id)))

    await store.write(work, BY)
    assert seen == ["renamed", "a hash", 1, session, [session], 0, None, None, None]


async def test_exception_of_the_work_passes_through(store: Store) -> None:
    """A write whose work raises raises the same, at whatever point."""
    error = Broken()

    async def work(transaction: Transaction) -> None:
        await transaction.users.save(a_user())
        raise error

    with pytest.raises(Broken) as raised:
        await store.write(work, BY)
    assert raised.value is error


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"username": "ada"}, ("username",)),
        ({"email": "ada@example.com"}, ("email",)),
        ({"username": "ada", "email": "ada@example.com"}, ("username", "email")),
        ({"username": "ada", "email": "bob@example.com"}, ("username", "email")),
    ],
)
async def test_names_belong_to_one_user(store: Store, fields: Mapping[str, Any], taken: tuple[str, ...]) -> None:
    """A new or changed user cannot have another's username or e-mail address; every such field is named."""
    ada = a_user(username="ada", email="ada@example.com")
    bob = a_user(username="bob", email="bob@example.com")
    eve = a_user()
    written = await keep(store, ada, bob, eve)

    for user in (a_user(**fields), replace(eve, **fields)):
        with pytest.raises(AlreadyExists) as refused:
            await keep(store, user)
        assert refused.value.fields == taken
    assert await store.events.read_position() == written.position
    assert (await store.users.find(eve.id)).value == eve.at(3)


async def test_own_names_are_not_taken(store: Store) -> None:
    """A user keeps its names through a change, and names that were left are free, in the same write already."""
    ada, bob = a_user(username="ada", email="ada@example.com"), a_user(username="bob", email="bob@example.com")
    await keep(store, ada, bob)
    await keep(store, replace(ada, name="Ada"))

    async def swap(transaction: Transaction) -> None:
        await transaction.users.save(replace(ada, username="free", email="free@example.com"))
        await transaction.users.save(replace(bob, username="ada", email="ada@example.com"))
        await transaction.users.save(replace(ada, username="bob", email="bob@example.com"))

    await store.write(swap, BY)
    logins = {
        login: await store.users.find_by_login(login)
        for login in ("ada", "bob@example.com", "free", "free@example.com")
    }
    assert {login: found and found.user.id for login, found in logins.items()} == {
        "ada": bob.id,
        "bob@example.com": ada.id,
        "free": None,
        "free@example.com": None,
    }


async def test_writes_at_once_stand_in_one_order(store: Store) -> None:
    """However many write at the same time, seqs are dense and no change is lost."""
    ada = a_user(age=0)
    await keep(store, ada)

    async def older(transaction: Transaction) -> int:
        user = await transaction.users.find(ada.id)
        assert user is not None
        assert user.age is not None
        user = replace(user, age=user.age + 1)
        await transaction.users.save(user)
        await transaction.events.append(updated(user, "age"))
        return user.age or 0

    ages = [written.value for written in await asyncio.gather(*(store.write(older, BY) for _ in range(20)))]

    assert sorted(ages) == list(range(1, 21))
    log = await whole_log(store)
    assert [event.seq for event in log] == list(range(1, 22))
    assert [event.user and event.user.age for event in log] == list(range(21))
    assert (await store.users.find(ada.id)).value == replace(ada, age=20).at(21)


async def test_write_that_is_cancelled_is_whole_or_nothing(store: Store) -> None:
    """A write that is cancelled at any moment has happened with its event or has not happened."""
    for turns in range(8):
        user = a_user()
        task = asyncio.create_task(keep(store, user))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keep(store, a_user())  # commits later: by now it has happened, or never will
        row = (await store.users.find(user.id)).value
        assert [event.user for event in await whole_log(store, subject=user.id)] == ([] if row is None else [row])


async def test_commit_calls_its_listener(store: Store) -> None:
    """Listeners receive the events of a commit before the write returns, and no event of writes that failed."""
    told: list[Event] = []
    store.add_commit_listener(told.extend)

    async def fails(transaction: Transaction) -> None:
        await transaction.events.append(created(a_user()))
        raise Broken

    with pytest.raises(Broken):
        await store.write(fails, BY)
    assert told == []

    written = await keep(store, a_user())
    assert told == list(written.events) == await whole_log(store)


# Deletion


async def test_deleted_user_is_gone_everywhere(store: Store) -> None:
    """A deleted user is found by no id, name or list, its password goes with it, and its names are free."""
    ada = a_user(username="ada", email="ada@example.com")
    await keep(store, ada)

    async def work(transaction: Transaction) -> None:
        await transaction.users.set_password(ada.id, "a hash")

    await store.write(work, BY)
    await erase(store, ada)

    assert (await store.users.find(ada.id)).value is None
    assert await store.users.find_by_login("ada") is None
    assert await store.users.find_by_login("ada@example.com") is None
    assert list((await store.users.list_page(UserQuery(10))).value) == []
    again = a_user(username="ada", email="ada@example.com")
    await keep(store, again)
    found = await store.users.find_by_login("ada")
    assert found is not None
    assert (found.user.id, found.password_hash) == (again.id, None)


async def test_log_forgets_a_deleted_user(store: Store) -> None:
    """Earlier events about a deleted user keep everything but the user; those about others keep all."""
    ada, bob = a_user(), a_user()
    await keep(store, ada, bob)
    await keep(store, replace(ada, name="Ada"))
    before = await whole_log(store)
    await erase(store, ada)
    after = await whole_log(store)

    assert after[:-1] == [replace(event, user=None) if event.subject == ada.id else event for event in before]
    assert after[-1].type == "user.deleted"
    assert await whole_log(store, subject=ada.id) == [event for event in after if event.subject == ada.id]


async def test_log_keeps_a_user_that_was_made_again(store: Store) -> None:
    """A user that the same write creates again after its deletion is not redacted."""
    ada = a_user()

    async def work(transaction: Transaction) -> None:
        for _ in range(2):
            await transaction.users.save(ada)
            await transaction.events.append(created(ada))
            await transaction.users.delete(ada.id)
            await transaction.events.append(Event("user.deleted", ada.updated_at, None, ada.id))
        await transaction.users.save(ada)
        await transaction.events.append(created(ada))

    written = (await store.write(work, BY)).events
    assert await whole_log(store) == [*(replace(event, user=None) for event in written[:-1]), written[-1]]
    assert (await store.users.find(ada.id)).value == written[-1].user


# Sessions


async def test_session_comes_with_its_user(store: Store, clock: ManualClock) -> None:
    """A session is read with its user as it is now, and as it was last put."""
    ada = a_user()
    session = a_session(ada, clock())
    await keep(store, ada)
    await keep_session(store, session)
    await keep(store, replace(ada, name="Ada"))
    await keep_session(store, rotated(session, clock()))

    assert await store.sessions.find_with_user(session.id) == (
        rotated(session, clock()),
        replace(ada, name="Ada").at(2),
    )


async def test_session_lasts_until_it_expires(store: Store, clock: ManualClock) -> None:
    """Up to its last microsecond a session is there, and from then on it is not, though others are opened meanwhile."""
    ada = a_user()
    short, long = a_session(ada, clock()), a_session(ada, clock(), expires_at=clock() + timedelta(days=60))
    await keep(store, ada)
    await keep_session(store, short, long)
    clock.now = short.expires_at - timedelta(microseconds=1)
    assert await store.sessions.find_with_user(short.id) is not None

    clock.now = short.expires_at
    assert await store.sessions.find_with_user(short.id) is None
    await keep_session(store, a_session(ada, clock()))
    assert await store.sessions.find_with_user(short.id) is None
    assert await store.sessions.find_with_user(long.id) is not None


async def test_session_without_user_is_none(store: Store, clock: ManualClock) -> None:
    """A session is gone as soon as its user is."""
    ada = a_user()
    session = a_session(ada, clock())
    await keep(store, ada)
    await keep_session(store, session)
    await erase(store, ada)

    assert await store.sessions.find_with_user(session.id) is None


async def test_sessions_of_a_user_are_its_own(store: Store, clock: ManualClock) -> None:
    """A user's sessions are listed without others', the oldest first, in whatever order they were kept."""
    ada, bob = a_user(), a_user()
    await keep(store, ada, bob)
    sessions = []
    for user in (ada, bob, ada, ada):
        sessions.append(a_session(user, clock()))
        clock.advance(1)
    await keep_session(store, *reversed(sessions))

    async def work(transaction: Transaction) -> Sequence[Session]:
        await transaction.sessions.delete(sessions[2].id)
        return await transaction.sessions.list_of_user(ada.id)

    assert list(await ask(store, work)) == [sessions[0], sessions[3]]


async def test_sessions_are_listed_while_they_last(store: Store, clock: ManualClock) -> None:
    """A user's own, the oldest first, as they are after the last refresh; what has expired is not there."""
    ada, bob = a_user(), a_user()
    await keep(store, ada, bob)
    short = a_session(ada, clock(), expires_at=clock() + timedelta(seconds=1))
    first, second = a_session(ada, clock()), a_session(ada, clock() + timedelta(microseconds=1))
    await keep_session(store, second, a_session(bob, clock()), short, first)
    assert set(await store.sessions.list_of_user(ada.id)) == {short, first, second}

    clock.advance(1)
    renewed = rotated(first, clock(), timedelta(days=1), Origin("192.0.2.1"))
    await keep_session(store, renewed)
    assert list(await store.sessions.list_of_user(ada.id)) == [renewed, second]
    assert list(await store.sessions.list_of_user(uuid.uuid4())) == []


# Keys


async def test_first_key_is_that_of_who_comes_first(store: Store, clock: ManualClock) -> None:
    """A key is kept where there is none, and comes back as it went in; another one changes nothing."""
    assert list(await store.signing_keys.list_all()) == []
    clock.advance(0.000001)
    keys = [generate_key("EdDSA", clock(), clock() + timedelta(seconds=1)), a_key("RS256"), a_key("HS256")]
    await asyncio.gather(*(store.signing_keys.add_if_none(key) for key in keys))

    (kept,) = await store.signing_keys.list_all()
    assert kept in keys
    await store.signing_keys.add_if_none(a_key("ES256"))
    assert list(await store.signing_keys.list_all()) == [kept]


# Tickets


async def test_ticket_is_taken_once(store: Store, clock: ManualClock) -> None:
    """A ticket gives its session to the first who takes it, also when several do at once."""
    session_id = uuid.uuid4()
    await store.tickets.create(b"a" * 32, session_id, clock() + timedelta(seconds=30))
    taken = await asyncio.gather(*(store.tickets.consume(b"a" * 32, clock()) for _ in range(5)))

    assert sorted(taken, key=str) == sorted([session_id, None, None, None, None], key=str)


async def test_ticket_expires(store: Store, clock: ManualClock) -> None:
    """From the moment at which it expires a ticket gives nothing, and trying does not prolong it."""
    session_id = uuid.uuid4()
    until_then = clock() + timedelta(seconds=30)
    await store.tickets.create(b"a" * 32, session_id, until_then)
    await store.tickets.create(b"b" * 32, session_id, until_then)

    assert await store.tickets.consume(b"a" * 32, until_then - timedelta(microseconds=1)) == session_id
    assert await store.tickets.consume(b"b" * 32, until_then) is None
    assert await store.tickets.consume(b"b" * 32, clock()) is None


async def test_tickets_do_not_get_in_each_others_way(store: Store, clock: ManualClock) -> None:
    """Each of many tickets gives its own session, expired ones among them or not."""
    sessions = [uuid.uuid4() for _ in range(20)]
    for number, session_id in enumerate(sessions):
        await store.tickets.create(bytes([number]) * 32, session_id, clock() + timedelta(seconds=30))
        clock.advance(2)
    found = [await store.tickets.consume(bytes([number]) * 32, clock()) for number in range(20)]

    # The clock stands 40 s after the first one: those made up to 10 s after it have expired.
    assert found == [None] * 6 + sessions[6:]


# One snapshot


async def test_answer_is_true_at_its_position(store: Store) -> None:
    """While others write, rows and position of every read belong together: the log up to there made these rows."""
    users = [a_user() for _ in range(4)]
    log: list[Event] = []
    reads: list[tuple[Position, Sequence[User]]] = []
    singles: list[tuple[Position, User | None]] = []
    writing = True

    async def writes() -> None:
        nonlocal writing
        for number in range(40):
            user = replace(users[number % 4], name=str(number))
            event = Event("user.deleted", user.updated_at, None, user.id) if number % 7 == 6 else created(user)

            async def work(transaction: Transaction, user: User = user, event: Event = event) -> None:
                await (transaction.users.delete(user.id) if event.user is None else transaction.users.save(user))
                await transaction.events.append(event)

            log.extend((await store.write(work, BY)).events)
            await asyncio.sleep(0)
        writing = False

    async def read() -> None:
        while writing:
            listed = await store.users.list_page(UserQuery(100))
            reads.append((listed.position, listed.value))
            single = await store.users.find(users[0].id)
            singles.append((single.position, single.value))
            await asyncio.sleep(0)

    await asyncio.gather(writes(), read(), read())

    def at(seq: int) -> dict[uuid.UUID, User]:
        rows: dict[uuid.UUID, User] = {}
        for event in log[:seq]:
            rows.pop(event.subject, None)
            if event.user is not None:
                rows[event.subject] = event.user
        return rows

    assert len({position.seq for position, _ in reads}) > 10
    for position, rows in reads:
        assert {user.id: user for user in rows} == at(position.seq)
    for position, row in singles:
        assert row == at(position.seq).get(users[0].id)
