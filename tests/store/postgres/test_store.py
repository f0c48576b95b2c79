"""The special properties of PostgreSQL: other writers, and a server that goes down and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import func, select

from service.domain.auth import login
from service.domain.auth.login import LoggedIn
from service.domain.errors import AlreadyExists, Conflict, InvalidToken, LastAdmin, StorageFull, Unavailable
from service.domain.events.query import EventQuery
from service.domain.idempotency.claims import Claim, IdempotencyKeys, StoredResponse
from service.domain.idempotency.run import run_idempotent
from service.domain.ports import Transaction, TransactionRunner, Written
from service.domain.users import accounts
from service.domain.users.accounts import NewUser
from service.security.keys import generate_key
from service.store.postgres.connection import PostgresConnection
from service.store.postgres.store import PostgresStore
from service.store.sql.dialects import Statement
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, created, keep, updated
from tests.support.ports import free_port
from tests.support.postgres import postgres
from tests.support.stores import Broken, a_session, erase, keep_session, whole_log
from tests.support.wait import BUSY_S, until
from tests.support.writing import HOT, PAIR, processes


@asynccontextmanager
async def opened(place: str, **kwargs: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(place, kwargs.pop("clock", None) or ManualClock(), **kwargs)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_reader_never_passes_over_an_event_that_commits_later(place: str) -> None:
    """Two processes write, slowly and at once; who follows the log by its seqs sees every event, in order, none twice."""
    async with opened(place, wait_s=None) as store:
        seen: list[int] = []

        async def follow() -> None:
            while len(seen) < 240:
                page = await store.events.list_page(EventQuery(seen[-1] if seen else 0, 7))
                seen.extend(event.seq for event in page.events)

        following = asyncio.create_task(follow())
        outcomes = await processes(2, place, "slow", "120")
        await asyncio.wait_for(following, 20)
        assert outcomes == [{"written": 120}] * 2
        assert seen == list(range(1, 241))


async def test_two_processes_that_lock_crosswise_make_no_deadlock(place: str) -> None:
    """Both change the same two users in either order. No transaction waits for a row while it holds another; no change is lost."""
    async with opened(place, wait_s=None) as store:
        await keep(store, *(a_user(id=user_id, age=0) for user_id in PAIR))
        control = await asyncpg.connect(place)
        before = await deadlocks(control)
        outcomes = await processes(2, place, "crossed", "12")
        written = sum(outcome.pop("written", 0) for outcome in outcomes)
        assert [outcome for outcome in outcomes if outcome.keys() - {"Unavailable"}] == []
        assert written > 20
        assert {(await store.users.find(user_id)).value.age for user_id in PAIR} == {written}  # type: ignore[union-attr]  # both are there
        assert [event.seq for event in await whole_log(store)] == list(range(1, 2 * written + 3))
        assert await deadlocks(control) == before
        await control.close()


async def test_two_processes_on_the_same_few_users_refuse_no_write(place: str) -> None:
    """Batches of both lock the same twenty users in any order: all writes succeed, and none is lost."""
    async with opened(place, wait_s=None) as store:
        await keep(store, *(a_user(id=user_id, age=0) for user_id in HOT))
        assert await processes(2, place, "hot", "300") == [{"written": 300}] * 2
        ages = [(await store.users.find(user_id)).value.age for user_id in HOT]  # type: ignore[union-attr]  # all are there
        assert sum(ages) == 600  # type: ignore[arg-type]  # each has an age


@pytest.mark.parametrize(("times", "error"), [(3, None), (4, Conflict)])
async def test_deadlock_at_the_counter_is_resolved_as_well(
    own_place: str, times: int, error: type[Exception] | None
) -> None:
    """Where seqs are taken it ends the transaction of all who share it: they are carried out again, three times at most."""
    async with opened(own_place) as store:
        shell = await asyncpg.connect(own_place)
        await shell.execute(f"""
            CREATE SEQUENCE times;
            CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('times') <= {times} THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER meet BEFORE UPDATE OF seq ON log FOR EACH ROW EXECUTE FUNCTION meet();
        """)
        await shell.close()
        outcomes = await asyncio.gather(*(keep(store, a_user()) for _ in range(3)), return_exceptions=True)
        failed = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
        assert set(failed) == ({error} if error else set())
        assert [event.seq for event in await whole_log(store)] == list(range(1, 4 - len(failed)))
        await keep(store, a_user())


async def test_locked_row_delays_its_own_writer_only(place: str) -> None:
    """A shell in the middle of a transaction: a writer of that row gets an error within two seconds, others do not."""
    async with opened(place) as store:
        await keep(store, ada := a_user())
        shell = await asyncpg.connect(place)
        async with shell.transaction():
            await shell.execute("UPDATE users SET age = 1")
            began = time.monotonic()

            async def rename(transaction: Transaction) -> None:
                assert await transaction.users.find(ada.id)

            outcomes = await asyncio.gather(
                store.write(rename, BY), *(keep(store, a_user()) for _ in range(5)), return_exceptions=True
            )
            assert time.monotonic() - began < 2 + BUSY_S
            assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [Unavailable]
        await shell.close()
        await store.write(rename, BY)


async def test_statement_that_takes_too_long_is_stopped_and_the_connection_stays(place: str) -> None:
    """By the server itself: what is only slow is no reason to hang up."""
    async with opened(place) as store:
        slow, session = (
            Statement(lambda _: select(func.pg_sleep(10))),
            Statement(lambda _: select(func.pg_backend_pid())),
        )
        ((before,),) = await store.find(session)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await store.find(slow)
        assert time.monotonic() - began < 2 + BUSY_S
        assert [tuple(row) for row in await store.find(session)] == [(before,)]


async def test_server_without_room_refuses_that_write_alone(own_place: str) -> None:
    """Its error for a full disk (53100) reaches the caller as such; concurrent writes succeed."""
    async with opened(own_place) as store:
        shell = await asyncpg.connect(own_place)
        await shell.execute("""
            CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER no_room BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.username = 'big') EXECUTE FUNCTION no_room();
        """)
        await shell.close()
        outcomes = await asyncio.gather(
            *(keep(store, a_user(username=name)) for name in ("one", "big", "two")), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [StorageFull]
        assert [event.seq for event in await whole_log(store)] == [1, 2]


async def test_commit_of_another_process_rings(place: str) -> None:
    """At once, not only at the next check."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        rung = asyncio.Event()
        other.add_commit_listener(lambda _: rung.set())
        await until(lambda: has_said(place, other, "NOTIFY %"))
        await keep(one, a_user())
        await asyncio.wait_for(rung.wait(), 2)


async def test_too_few_connections_for_all_workers_are_logged(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where the workers of this host may need more connections than the server has, a start warns; else it is silent."""
    async with opened(place, workers=2):
        pass
    assert "too few connections" not in caplog.text
    async with opened(place, wait_s=None, workers=100):
        pass
    assert "PostgreSQL has too few connections for all workers" in caplog.text


async def test_notifications_carry_no_data(place: str) -> None:
    """Every role that can connect to the database can listen: it learns that something was committed, and nothing else."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        payloads: list[str] = []
        control = await asyncpg.connect(place)
        await control.add_listener("roster", lambda *notification: payloads.append(notification[3]))
        await until(lambda: has_said(place, other, "NOTIFY %"))
        await keep(one, a_user())
        await until(lambda: payloads)
        await control.close()
        assert set(payloads) == {""}


async def test_two_who_each_take_an_administrator_away_leave_one(place: str) -> None:
    """Over and over, from two processes at once."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        for _ in range(10):
            admins = [a_user(role="admin") for _ in range(2)]
            await keep(one, *admins)

            async def demote(store: PostgresStore, admin_id: UUID) -> None:
                async def work(transaction: Transaction) -> None:
                    user = await transaction.users.find(admin_id)
                    assert user is not None
                    if await transaction.users.count_active_admins() < 2:
                        raise LastAdmin()
                    await transaction.users.save(demoted := replace(user, role="member"))
                    await transaction.events.append(updated(demoted, "role"))

                await store.write(work, BY)

            outcomes = await asyncio.gather(
                demote(one, admins[0].id), demote(other, admins[1].id), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes if outcome is not None] == [LastAdmin]
            (left,) = [admin for admin, outcome in zip(admins, outcomes, strict=True) if outcome is not None]

            async def clear(transaction: Transaction, left: UUID = left.id) -> None:
                await transaction.users.delete(left)

            await one.write(clear, BY)


async def test_hosts_that_start_together_agree(place: str) -> None:
    """On an empty database, on one log, one secret and one first administrator."""
    clock = ManualClock()
    admin = NewUser("admin", "admin@example.com", role="admin", password="adminadmin")

    async def begin(store: PostgresStore) -> tuple[str, str, bool]:
        await store.open()
        secret = await store.secrets.get_or_create("tokens")
        return (
            (await store.events.read_position()).epoch,
            secret,
            await accounts.ensure_admin(store, PlainHasher(), clock, admin),
        )

    stores = [PostgresStore(place, clock, wait_s=None) for _ in range(4)]
    begun = await asyncio.gather(*(begin(store) for store in stores))
    assert len({(epoch, secret) for epoch, secret, _ in begun}) == 1
    assert sorted(made for *_, made in begun) == [False, False, False, True]
    assert [event.type for event in await whole_log(stores[0])] == ["user.created"]
    for store in stores:
        await store.close()


async def test_name_is_taken_once(place: str) -> None:
    """One of two who want it at once gets it, the other gets `AlreadyExists`."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        for number in range(10):
            outcomes = await asyncio.gather(
                *(keep(store, a_user(username=f"ada{number}")) for store in (one, other)), return_exceptions=True
            )
            (refused,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert isinstance(refused, AlreadyExists)
            assert refused.fields == ("username",)


async def test_readers_take_turns(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, no reader waits while others read again and again."""
    async with opened(place) as store:
        await keep(store, ada := a_user())
        await asyncio.gather(*(store.users.find(ada.id) for _ in range(32)))  # every connection is there from now on
        begun, most = 0, 0  # until a read begins: how long the server takes for it is not ours
        asked = ContextVar[int]("asked")
        rows = PostgresConnection.rows

        def counted(connection: PostgresConnection, statement: Statement, **given: Any) -> Any:
            nonlocal begun, most
            begun += 1
            most = max(most, begun - asked.get(begun))
            return rows(connection, statement, **given)

        monkeypatch.setattr(PostgresConnection, "rows", counted)

        async def read_on() -> None:
            for _ in range(40):
                asked.set(begun)
                await store.users.find(ada.id)

        await asyncio.gather(*(read_on() for _ in range(32)))
        assert most <= 3 * 32


async def test_second_process_waits_for_the_first_to_leave(place: str) -> None:
    """And gives up with a sentence; the database goes with the connection, however the first one ends."""
    first = PostgresStore(place, ManualClock())
    await first.open()
    with pytest.raises(Unavailable, match=rf"belongs to process {os.getpid()} on .*, since .* Stop that one first"):
        await PostgresStore(place, ManualClock(), wait_s=0.2).open()

    second = PostgresStore(place, ManualClock())
    opening = asyncio.create_task(second.open())
    await asyncio.sleep(0.2)  # who did not wait would have it by now
    assert not opening.done()
    await first.close()
    await asyncio.wait_for(opening, 5)
    await second.close()


async def test_process_is_known_while_it_is_there(place: str) -> None:
    """Each has a row that says who it is; one that ended without a word is forgotten."""
    control = await asyncpg.connect(place)
    async with opened(place, wait_s=None), opened(place, wait_s=None):
        await control.execute(
            "INSERT INTO leases VALUES (gen_random_uuid(), 'elsewhere', 7, now(), now() - interval '1 minute')"
        )
        async with opened(place, wait_s=None):
            known = await control.fetch("SELECT host, pid FROM leases WHERE now() - renewed_at < interval '10 seconds'")
            assert [tuple(row) for row in known] == [(socket.gethostname(), os.getpid())] * 3
            assert await control.fetchval("SELECT count(*) FROM leases") == 3
    assert await control.fetchval("SELECT count(*) FROM leases") == 0
    await control.close()


async def test_connection_that_is_lost_does_not_let_two_write(place: str) -> None:
    """The next process has the database from then on; the first one refuses writes, is not ready, and still reads."""
    async with opened(place) as first:
        await keep(first, ada := a_user())
        second = PostgresStore(place, ManualClock())
        opening = asyncio.create_task(second.open())
        await until(lambda: has_said(place, second, "SELECT pg_terminate_backend%"))  # what it does between two tries
        await end_writer(place, first)
        await opening
        with pytest.raises(Unavailable):
            await keep(first, a_user())
        assert not await first.is_healthy()
        assert (await first.users.find(ada.id)).value is not None
        await keep(second, a_user())
        await second.close()
        await until(first.is_healthy)
        await keep(first, a_user())
        assert [event.seq for event in await whole_log(first)] == [1, 2, 3]


async def test_session_that_is_frozen_is_left_behind(place: str) -> None:
    """Writes are refused while it keeps the lock, reads go on; the server ends it as soon as it can, and writes go on."""
    async with opened(place) as store:
        await keep(store, ada := a_user())
        pid = writer_of(store)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await keep(store, a_user())
                assert time.monotonic() - began < 2 + BUSY_S
                assert (await store.users.find(ada.id)).value is not None
            assert not await store.is_healthy()
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(store.is_healthy)
        await keep(store, a_user())
        assert [event.seq for event in await whole_log(store)] == [1, 2]


async def test_server_that_is_starting_is_waited_for() -> None:
    """A service that starts beside its database does not give up before that has come up; one that never does is named."""
    port = free_port()
    nowhere = f"postgresql://roster@127.0.0.1:{port}/postgres"
    with pytest.raises(Unavailable, match=r"PostgreSQL cannot be used: .*Connect call failed"):
        await PostgresStore(nowhere, ManualClock(), wait_s=0.3).open()

    store = PostgresStore(nowhere, ManualClock(), wait_s=20)
    opening = asyncio.create_task(store.open())
    await asyncio.sleep(0.1)  # its first check is over by now
    with postgres(port=port):
        await opening
        await keep(store, a_user())
        await store.close()


async def test_refusing_server_is_reported_at_once(postgres_url: str) -> None:
    """Waiting would not help where the database does not exist."""
    with pytest.raises(Unavailable, match='PostgreSQL cannot be used: database "nothing" does not exist'):
        await PostgresStore(f"{postgres_url.rpartition('/')[0]}/nothing", ManualClock()).open()


async def test_server_that_is_gone_is_reported_at_once_and_found_again() -> None:
    """Reads and writes are refused within two seconds, nothing is left over, and all goes on by itself."""
    with postgres() as url:
        async with opened(url) as store:
            await keep(store, ada := a_user())
            control = await asyncpg.connect(url)
            server = await control.fetchval("SELECT pg_backend_pid()")
            for pid in [
                row[0] for row in await control.fetch("SELECT pid FROM pg_stat_activity WHERE pid <> $1", server)
            ]:
                await control.execute("SELECT pg_terminate_backend($1)", pid)
            await control.close()

            async with asyncio.timeout(10):
                while True:
                    try:
                        assert (await store.users.find(ada.id)).value is not None
                        await keep(store, a_user())
                    except Unavailable:
                        continue
                    break
            assert [event.seq for event in await whole_log(store)] == [1, 2]


async def test_two_processes_with_one_key_make_one_user(place: str) -> None:
    """Over and over, slowly and at once: the one that comes second waits for the other, then answers what that did."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        await keep(one, admin := a_user(role="admin"))
        for number in range(10):
            claim = IdempotencyKeys("s", 60).claim(admin.id, "POST /v1/users", str(number), b"{}", ManualClock()())
            (first, a), (second, b) = await asyncio.gather(make_slowly(one, claim), make_slowly(other, claim))

            assert first == second
            assert sorted((a, b)) == [False, True]
        assert (await one.events.read_position()).seq == 11


async def test_key_of_a_process_that_fails_is_free_for_the_other(place: str) -> None:
    """What the first one took and did not bring to its end is carried out by the one that waited for it."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        await keep(one, admin := a_user(role="admin"))
        claim = IdempotencyKeys("s", 60).claim(admin.id, "POST /v1/users", "k", b"{}", ManualClock()())
        taken = asyncio.Event()
        failing = asyncio.create_task(make_slowly(one, claim, taken, Broken()))
        await taken.wait()
        _, is_replay = await make_slowly(other, claim)
        with pytest.raises(Broken):
            await failing

        assert not is_replay
        assert (await one.events.read_position()).seq == 2


async def test_user_deleted_by_another_process_meanwhile_has_no_key(place: str) -> None:
    """Whichever is first: the deletion takes the key with it, or the key is refused; nothing else fails."""
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        for _ in range(10):
            await keep(one, admin := a_user(role="admin"))
            claim = IdempotencyKeys("s", 60).claim(admin.id, "POST /v1/users", "k", b"{}", ManualClock()())
            outcome, erased = await asyncio.gather(make_slowly(one, claim), erase(other, admin), return_exceptions=True)

            assert isinstance(outcome, tuple | InvalidToken), outcome
            assert erased is None
            with pytest.raises(InvalidToken):
                await make_slowly(one, claim)


async def test_keys_that_another_process_deletes_delay_no_other(place: str) -> None:
    """An expired key that another session has locked is left alone, and removed another time."""
    async with opened(place, wait_s=None) as store:
        await keep(store, admin := a_user(role="admin"))
        clock, names = ManualClock(), IdempotencyKeys("s", 60)
        await make_slowly(store, names.claim(admin.id, "POST /v1/users", "old", b"{}", clock()))
        clock.advance(60)
        other = await asyncpg.connect(place)
        try:
            async with other.transaction():
                assert await other.fetch("SELECT key FROM idempotency_keys FOR UPDATE")
                async with asyncio.timeout(3):
                    await make_slowly(store, names.claim(admin.id, "POST /v1/users", "new", b"{}", clock()))
            await make_slowly(store, names.claim(admin.id, "POST /v1/users", "newer", b"{}", clock()))
            left = await other.fetch("SELECT key FROM idempotency_keys ORDER BY key")
            assert [row["key"] for row in left] == ["new", "newer"]
        finally:
            await other.close()


async def make_slowly(
    store: PostgresStore, claim: Claim, taken: asyncio.Event | None = None, error: Exception | None = None
) -> tuple[StoredResponse, bool]:
    """Make a user with that key, taking long enough for others to come."""

    async def act(writes: TransactionRunner) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.users.save(user := a_user())
            await transaction.events.append(created(user))
            if taken is not None:
                taken.set()
            await asyncio.sleep(0.02)
            if error is not None:
                raise error

        await writes.write(work, BY)

    def shown(written: Written[Any]) -> StoredResponse:
        return StoredResponse(201, {"Roster-Position": str(written.position)}, b"{}", written.events[0].subject)

    return await run_idempotent(store, claim, shown, act)


async def deadlocks(control: asyncpg.Connection[Any]) -> int:
    """How many the server has found so far."""
    await control.execute("SELECT pg_stat_clear_snapshot()")
    found: int = await control.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return found


async def has_said(place: str, store: PostgresStore, like: str) -> int:
    """How many of the store's sessions have said such a thing last, and were answered."""
    control = await asyncpg.connect(place)
    found: int = await control.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle' AND ltrim(query, E' \\n') LIKE $2",
        store._lease.name,
        like,
    )
    await control.close()
    return found


def writer_of(store: PostgresStore) -> int:
    """The process of the server that carries out the store's writes."""
    connection = store._writer._driver._raw
    assert connection is not None
    return connection.get_server_pid()


async def end_writer(place: str, store: PostgresStore) -> None:
    control = await asyncpg.connect(place)
    await control.execute("SELECT pg_terminate_backend($1)", writer_of(store))
    await control.close()


async def test_sessions_that_two_processes_refresh_go_forward(place: str) -> None:
    """However they come between each other, a generation is handed out once and never put back."""
    clock, ada = ManualClock(), a_user()
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        await keep(one, ada)
        session = a_session(ada, clock())
        await keep_session(one, session)

        def renew(store: PostgresStore, generation: int) -> Awaitable[LoggedIn]:
            return login.refresh(store, clock, BY, session.id, generation, lambda _: True)

        for generation in range(1, 30):
            found = await asyncio.gather(*(renew(store, generation) for store in (one, other)))
            assert {entered.session.generation for entered in found} == {generation + 1}
        assert [event.type for event in await whole_log(one)] == ["user.created"]


async def test_session_that_another_process_ends_stays_ended(place: str) -> None:
    """A concurrent refresh does not restore it."""
    clock, ada = ManualClock(), a_user()
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        await keep(one, ada)
        for _ in range(20):
            session = a_session(ada, clock())
            await keep_session(one, session)
            await asyncio.gather(
                login.refresh(one, clock, BY, session.id, 1, lambda _: True),
                login.log_out(other, clock, BY, ada.id, session.id),
                return_exceptions=True,
            )
            assert await one.sessions.find_with_user(session.id) is None


async def test_processes_that_begin_together_make_one_key(place: str) -> None:
    """A token of one process verifies in another, from the first token on."""
    clock = ManualClock()
    async with opened(place, wait_s=None) as one, opened(place, wait_s=None) as other:
        for _ in range(10):
            keys = [generate_key("HS256", clock(), clock()) for _ in range(2)]
            await asyncio.gather(one.signing_keys.add_if_none(keys[0]), other.signing_keys.add_if_none(keys[1]))
            (key,) = await one.signing_keys.list_all()
            assert list(await other.signing_keys.list_all()) == [key]
            connection = await asyncpg.connect(place)
            await connection.execute("DELETE FROM signing_keys")
            await connection.close()
