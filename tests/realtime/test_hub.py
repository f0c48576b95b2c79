"""The feed's log: follows the store, whatever the store does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventPage, EventQuery
from service.domain.ports import Transaction
from service.domain.users.user import User
from service.realtime.broadcast_log import Trimmed
from service.realtime.encoding import WireEncoding
from service.realtime.hub import Hub
from service.realtime.subscribers import EventFilter
from service.store.memory.events import MemoryEventReads
from service.store.memory.log import MemoryLog
from service.store.memory.store import MemoryStore
from tests.support.domain import BY, a_user, created, keep, updated
from tests.support.wait import BUSY_S, until

NOBODY = UUID(int=0)


class FaultyLog(MemoryEventReads):
    """A log that can be made to fail, to wait, or to have another past."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.fails = False
        self.epoch: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def list_page(self, query: EventQuery) -> EventPage:
        await self.gate.wait()
        if self.fails:
            raise OSError("the disk is gone")
        page = await super().list_page(query)
        return replace(page, position=self._named(page.position))

    async def read_position(self) -> Position:
        return self._named(await super().read_position())

    def _named(self, position: Position) -> Position:
        return position if self.epoch is None else Position(self.epoch, position.seq)


class FaultyStore(MemoryStore):
    """A memory store whose log is a `FaultyLog`."""

    events: FaultyLog

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(lambda: datetime.now(UTC), **kwargs)
        self.events = FaultyLog(self._log)

    async def commit(self, *events: Event) -> None:
        """Put these events into the log, in one transaction."""

        async def work(transaction: Transaction) -> None:
            for event in events:
                if event.type == "user.deleted":
                    await transaction.users.delete(event.subject)
                elif event.user is not None:
                    await transaction.users.save(event.user)
                await transaction.events.append(event)

        await self.write(work, BY)


class Observed:
    """A hub that follows, and what happened, in order: data handed out, endings, failures."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.happened: list[object] = []
        self.hub = Hub(store)
        self.hub.add_principal_listener(self.on_ending)
        self.hub.add_failure_listener(lambda: self.happened.append("failure"))
        self.encoding = WireEncoding.PLAIN
        self.filter = EventFilter()
        self.is_full = False

    def on_ending(self, event: Event) -> None:
        self.happened.append(("ending", event.seq))

    def put(self, data: bytes) -> None:
        self.happened += [int(line.rpartition(b"-")[2]) for line in data.split(b"\n") if line.startswith(b"id: ")]

    def on_detached(self, seq: int) -> None:
        raise AssertionError("it takes everything")


@pytest.fixture
async def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
async def observed(store: FaultyStore) -> AsyncIterator[Observed]:
    """A hub that follows the store, with a reader of everything at its head."""
    observed = Observed(store)
    await observed.hub.open()
    assert observed.hub.attach(observed, observed.hub.ring.head)
    follow = asyncio.create_task(observed.hub.follow())
    yield observed
    follow.cancel()
    await asyncio.gather(follow, return_exceptions=True)


def deleted(user: User) -> Event:
    return Event("user.deleted", datetime.now(UTC), None, user.id)


def ended(user: User) -> Event:
    return Event("session.ended", datetime.now(UTC), user.id, user.id, session_id=UUID(int=1), reason="logout")


async def test_commits_reach_readers_in_order(observed: Observed) -> None:
    """Every event of every commit, as soon as the bell rings, once each."""
    for _ in range(30):
        await keep(observed.store, a_user(), a_user())
        await asyncio.sleep(0)
    # Not for the head: after a long delivery the last entries may wait a moment longer.
    await until(lambda: len(observed.happened) == 60)

    assert observed.happened == list(range(1, 61))


async def test_lost_bell_costs_half_a_second_and_no_event(observed: Observed) -> None:
    """The hub polls the log without a notification."""
    observed.store._listeners.clear()
    await keep(observed.store, a_user())

    await until(lambda: observed.happened == [1], timeout=2 + BUSY_S)


async def test_endings_come_in_their_place_in_the_log(observed: Observed) -> None:
    """Events before one that revokes access are delivered before it, later ones after it; the event
    itself is the last one handed out, but where it changes a role the first one that is not."""
    ada, bob = a_user(), a_user()
    await observed.store.commit(
        created(ada), created(bob), ended(ada), updated(bob, "name"), updated(replace(bob, role="admin"), "role")
    )
    await observed.store.commit(deleted(ada), updated(bob, "name"))
    await until(lambda: observed.happened[-1:] == [7])

    assert observed.happened == [1, 2, 3, ("ending", 3), 4, ("ending", 5), 5, 6, ("ending", 6), 7]


async def test_failing_store_is_reported_and_read_again(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """A short outage costs readers nothing; what was committed meanwhile comes when the store is back."""
    observed.store.events.fails = True
    await keep(observed.store, a_user())
    await until(lambda: "cannot follow the event log; will retry" in caplog.text)
    observed.hub.check()
    assert observed.happened == []

    observed.store.events.fails = False
    await until(lambda: observed.happened == [1], timeout=2 + BUSY_S)
    assert [record.message for record in caplog.records] == [
        "cannot follow the event log; will retry",
        "event log followed again",
    ]


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_readers_are_not_left_in_silence(observed: Observed, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A store that fails, or does not answer at all, for too long ends them, once; after it is back it may again."""
    monkeypatch.setattr("service.realtime.hub.MOST_SILENT_S", 0.05)
    for outage in (1, 2):
        if how == "fails":
            observed.store.events.fails = True
        else:
            observed.store.events.gate.clear()
        await keep(observed.store, a_user())
        await until(lambda: not observed.hub.is_current, timeout=2 + BUSY_S)
        for _ in range(2):
            observed.hub.check()
        assert observed.happened.count("failure") == outage

        observed.store.events.fails = False
        observed.store.events.gate.set()
        await until(lambda outage=outage: observed.happened[-1] == outage, timeout=2 + BUSY_S)  # type: ignore[misc]  # bound now
        observed.hub.check()


async def test_other_life_of_the_log_ends_what_was_read_from_this_one(observed: Observed) -> None:
    """A restored store has another epoch: readers get a reset, and positions of the old one are lost."""
    await keep(observed.store, a_user(), a_user())
    await until(lambda: observed.happened == [1, 2])
    old = observed.hub.head
    observed.store.events.epoch = "restored"
    await keep(observed.store, a_user())
    await until(lambda: "failure" in observed.happened)

    assert observed.hub.head == Position("restored", 3)
    assert await observed.hub.lost(old, NOBODY) == "epoch"
    assert await observed.hub.lost(observed.hub.head, NOBODY) is None


async def test_more_than_is_kept_in_one_commit_is_never_skipped_in_silence() -> None:
    """If the log has a hole, readers are closed and get a reset when they resume."""
    observed = Observed(FaultyStore(keep_events=5))
    await observed.hub.open()
    observed.hub.attach(observed, 0)
    follow = asyncio.create_task(observed.hub.follow())
    await asyncio.sleep(0)
    await keep(observed.store, *(a_user() for _ in range(10)))
    await until(lambda: observed.happened)
    follow.cancel()
    await asyncio.gather(follow, return_exceptions=True)

    assert observed.happened == ["failure"]
    assert observed.hub.ring.head == 10
    assert await observed.hub.lost(Position(observed.hub.epoch, 4), NOBODY) == "trimmed"
    with pytest.raises(Trimmed):
        await observed.hub.page(4, EventFilter(a_user().id), 1 << 30)


@pytest.mark.parametrize(
    ("seq", "reason"), [(0, "trimmed"), (4, "trimmed"), (5, None), (10, None), (11, "ahead"), (10**17, "ahead")]
)
async def test_place_is_judged_by_what_the_store_keeps(seq: int, reason: str | None) -> None:
    """Neither this process's ring nor how far it has come decides, but the store."""
    hub = Observed(FaultyStore(keep_events=5)).hub
    await keep(hub._store, *(a_user() for _ in range(10)))
    await hub.open()

    assert await hub.lost(Position(hub.epoch, seq), NOBODY) == reason
    assert await hub.lost(Position("other", seq), NOBODY) == "epoch"
    assert await hub.first() == 6


async def test_place_that_this_process_has_not_come_to_yet_is_waited_for(observed: Observed) -> None:
    """A reader that saw an event elsewhere is not "ahead", and is not handed that event again."""
    observed.store.events.gate.clear()
    await keep(observed.store, a_user(), a_user())
    seen = await observed.store.events.read_position()
    answer = asyncio.create_task(observed.hub.lost(seen, NOBODY))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not answer.done()
    assert observed.hub.ring.head == 0

    observed.store.events.gate.set()
    assert await asyncio.wait_for(answer, 5) is None
    assert observed.hub.ring.head == 2


async def test_place_waited_for_is_lost_when_the_log_turns_out_to_be_another(observed: Observed) -> None:
    """The wait ends with the epoch it was for."""
    observed.store.events.gate.clear()
    await keep(observed.store, a_user(), a_user())
    answer = asyncio.create_task(observed.hub.lost(await observed.store.events.read_position(), NOBODY))
    await asyncio.sleep(0)
    observed.store.events.epoch = "restored"
    observed.store.events.gate.set()

    assert await asyncio.wait_for(answer, 5) == "epoch"


async def test_member_reads_its_own_events(observed: Observed) -> None:
    """Pages of one subject hold nothing of others, end at the head that readers have seen, and skip no place."""
    ada = a_user()
    await observed.store.commit(created(ada))
    for number in range(150):
        await keep(observed.store, a_user())
        await observed.store.commit(updated(replace(ada, name=str(number)), "name"))
    await until(lambda: observed.hub.ring.head == 301)
    observed.store._listeners.clear()
    await observed.store.commit(updated(ada, "name"))  # committed, not yet followed

    page = await observed.hub.page(0, EventFilter(ada.id), 10_000)
    rest = await observed.hub.page(page.seen, EventFilter(ada.id), 1 << 30)
    seqs = [entry.seq for entry in (*page.entries, *rest.entries)]

    assert 0 <= page.seen - page.entries[-1].seq <= 1  # the last that was looked at may be of another
    assert seqs == list(range(1, 302, 2))
    assert rest.seen == 301
    assert (await observed.hub.page(1, EventFilter(ada.id, frozenset({"session.ended"})), 1 << 30)).entries == []


async def test_entry_holds_the_event_in_both_wire_forms(observed: Observed) -> None:
    """The data of the stream and the frame of the WebSocket carry the same JSON, with the position as id."""
    ada = a_user(name="Ada King")
    await observed.store.commit(created(ada))
    await until(lambda: observed.hub.ring.head == 1)
    (entry,) = observed.hub.ring.after(0, 1 << 30)

    event = json.loads(entry.data)
    assert event["id"] == entry.position == str(observed.hub.head)
    assert (event["type"], event["subject"], event["user"]["name"]) == ("user.created", str(ada.id), "Ada King")
    assert json.loads(entry.frame) == {"type": "event", "event": event}


async def test_deletion_leaves_no_copy_of_the_user_in_the_ring(observed: Observed) -> None:
    """A reader that resumes before a deletion sees the events of the user, but not the user."""
    ada, bob = a_user(), a_user()
    await observed.store.commit(created(ada), created(bob), updated(ada, "name"), ended(ada))
    await until(lambda: observed.hub.ring.head == 4)
    await observed.store.commit(deleted(ada))
    await until(lambda: observed.hub.ring.head == 5)

    entries = [json.loads(entry.data) for entry in observed.hub.ring.after(0, 1 << 30)]
    stored = await observed.store.events.list_page(EventQuery(0, 10))
    assert [event["user"] and event["user"]["id"] for event in entries] == [None, str(bob.id), None, None, None]
    assert [event["type"] for event in entries] == [event.type for event in stored.events]
    assert str(ada.email) not in json.dumps(entries)


async def test_redaction_of_many_entries_gives_others_turns(observed: Observed) -> None:
    """A deletion is published once all copies of its user are gone; until then other tasks run between pieces of that work."""
    ada = a_user()
    await observed.store.commit(created(ada), *(updated(ada, "name") for _ in range(400)))
    await until(lambda: observed.hub.ring.head == 401)
    await observed.store.commit(deleted(ada))
    redacted = set()
    while observed.hub.ring.head == 401:
        entries = observed.hub.ring.after(0, 1 << 30)
        redacted.add(sum(json.loads(entry.data)["user"] is None for entry in entries))
        await asyncio.sleep(0)
    assert len(redacted) > 2
    assert {json.loads(entry.data)["user"] for entry in observed.hub.ring.after(0, 1 << 30)} == {None}


async def test_place_before_a_change_of_role_is_lost_to_that_user(observed: Observed) -> None:
    """Before it, the reader had other rights; at it and after it, and for others, it is a position like any."""
    await keep(observed.store, ada := a_user(), *(a_user() for _ in range(3)))
    changes = [("role",), *[("name",)] * 150]
    await observed.store.commit(*(Event("user.updated", ada.created_at, None, ada.id, ada, of) for of in changes))
    await until(lambda: observed.hub.ring.head == 155)
    hub = observed.hub

    for seq, reason in ((0, "rights"), (4, "rights"), (5, None), (155, None)):
        assert await hub.lost(Position(hub.epoch, seq), ada.id) == reason
        assert await hub.lost(Position(hub.epoch, seq), NOBODY) is None


async def test_member_goes_live_however_fast_others_write(observed: Observed) -> None:
    """Near the head its events come from the ring: while a store is asked for the last few the head moves on."""
    ada = a_user()
    await observed.store.commit(created(ada))
    await keep(observed.store, *(a_user() for _ in range(100)))
    await until(lambda: observed.hub.ring.head == 101)
    observed.store.events.gate.clear()

    page = await observed.hub.page(0, EventFilter(ada.id), 1 << 30)
    assert ([entry.seq for entry in page.entries], page.seen) == ([1], 101)
    observed.store.events.gate.set()
