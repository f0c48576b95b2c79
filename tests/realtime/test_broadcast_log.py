"""Live readers of a log: the entries they receive, when, and in how many writes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from service.domain.events.position import Position
from service.realtime import batcher
from service.realtime.broadcast_log import BroadcastLog, Trimmed
from service.realtime.encoding import WireEncoding, render
from service.realtime.ring import Ring
from service.realtime.subscribers import EventFilter
from tests.support.streams import an_entry

ALL = EventFilter()


@dataclass(eq=False)
class Listener:
    """A live reader that remembers what it was handed."""

    encoding: WireEncoding = WireEncoding.PLAIN
    filter: EventFilter = ALL
    is_full: bool = False
    pieces: list[bytes] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)

    def put(self, data: bytes) -> None:
        self.pieces.append(data)

    def on_detached(self, seq: int) -> None:
        self.behind.append(seq)


def a_log(head: int = 0, *, most_entries: int = 1000) -> BroadcastLog:
    return BroadcastLog("epoch", Ring(head, most_entries, 1 << 30))


def live(log: BroadcastLog) -> set[object]:
    return set(log.live_readers())


def piece(*seqs: int) -> bytes:
    return render([an_entry(seq) for seq in seqs], WireEncoding.PLAIN)


async def test_entries_of_one_turn_are_handed_out_in_one_piece_at_its_end() -> None:
    """Nothing is written while entries still come in; then everything of the turn goes out at once."""
    log, listener = a_log(), Listener()
    assert log.attach(listener, 0)

    log.append(an_entry(1))
    log.append(an_entry(2))
    assert listener.pieces == []

    await asyncio.sleep(0)
    log.append(an_entry(3))
    await asyncio.sleep(0)
    assert listener.pieces == [piece(1, 2), piece(3)]


async def test_bytes_are_made_once_for_each_form() -> None:
    """Readers that want the same in the same form are handed the very same bytes."""
    log = a_log()
    streams, sockets = [Listener() for _ in range(3)], [Listener(WireEncoding.WEBSOCKET) for _ in range(3)]
    for listener in (*streams, *sockets):
        log.attach(listener, 0)

    log.append(an_entry(1))
    log.flush()

    assert len({id(listener.pieces[0]) for listener in streams}) == 1
    assert len({id(listener.pieces[0]) for listener in sockets}) == 1
    assert sockets[0].pieces == [render([an_entry(1)], WireEncoding.WEBSOCKET)]


async def test_reader_gets_what_it_wants_and_no_more() -> None:
    """Key and events choose, each for itself and together."""
    log = a_log()
    wants = {
        "all": ALL,
        "ada": EventFilter("ada"),
        "created": EventFilter(events=frozenset({"created"})),
        "ada created": EventFilter("ada", frozenset({"created"})),
    }
    listeners = {name: Listener(filter=wanted) for name, wanted in wants.items()}
    for listener in listeners.values():
        log.attach(listener, 0)

    first = an_entry(1, "ada", "created")
    second = an_entry(2, "ada", "updated")
    third = an_entry(3, "bob", "created")
    fourth = an_entry(4, None, "updated")
    for entry in (first, second, third, fourth):
        log.append(entry)
    log.flush()

    assert {name: b"".join(listener.pieces) for name, listener in listeners.items()} == {
        "all": render([first, second, third, fourth], WireEncoding.PLAIN),
        "ada": render([first, second], WireEncoding.PLAIN),
        "created": render([first, third], WireEncoding.PLAIN),
        "ada created": render([first], WireEncoding.PLAIN),
    }


async def test_only_a_reader_at_the_head_is_attached() -> None:
    """A reader that is not at the head is refused and receives nothing."""
    log, listener = a_log(3), Listener()

    assert not log.attach(listener, 2)
    assert not log.attach(listener, 4)
    log.append(an_entry(4))
    log.flush()

    assert listener.pieces == []
    assert live(log) == set()


async def test_reader_that_attaches_is_not_handed_what_lies_behind_it() -> None:
    """Pending entries from before a reader came go to the earlier readers, not to the new one."""
    log, early, late = a_log(), Listener(), Listener()
    log.attach(early, 0)
    log.append(an_entry(1))
    assert log.attach(late, 1)
    log.append(an_entry(2))
    await asyncio.sleep(0)

    assert early.pieces == [piece(1), piece(2)]
    assert late.pieces == [piece(2)]


async def test_last_reader_that_goes_and_comes_back_in_one_turn_is_handed_nothing_twice() -> None:
    """A group that emptied while something had gathered for it leaves nothing to the one made in its place."""
    log, listener = a_log(), Listener()
    log.attach(listener, 0)
    log.append(an_entry(1))
    log.detach(listener)
    assert log.attach(listener, 1)
    log.append(an_entry(2))
    await asyncio.sleep(0)

    assert listener.pieces == [piece(2)]


async def test_full_reader_is_detached_with_its_position() -> None:
    """After a False nothing more is handed to it; the seq includes entries that it did not want."""
    log, full, other = (
        a_log(),
        Listener(WireEncoding.WEBSOCKET, filter=EventFilter("ada"), is_full=True),
        Listener(WireEncoding.WEBSOCKET),
    )
    log.attach(full, 0)
    log.attach(other, 0)
    entries = [an_entry(1, "ada", size=20_000), an_entry(2, "bob"), an_entry(3, "ada")]

    log.append(entries[0])
    log.append(entries[1])
    await asyncio.sleep(0)
    log.append(entries[2])
    log.flush()  # after a delivery that took long, the next one may wait two milliseconds

    assert (full.pieces, full.behind) == ([render(entries[:1], WireEncoding.WEBSOCKET)], [2])
    assert other.pieces == [render(entries[:2], WireEncoding.WEBSOCKET), render(entries[2:], WireEncoding.WEBSOCKET)]
    assert live(log) == {other}


async def test_many_entries_in_one_turn_go_out_in_bounded_pieces() -> None:
    """A commit of thousands does not become one write; who is full after the first piece is handed no second one."""
    log, listener, full = a_log(), Listener(WireEncoding.WEBSOCKET), Listener(WireEncoding.WEBSOCKET, is_full=True)
    log.attach(listener, 0)
    log.attach(full, 0)
    for seq in range(1, 1001):
        log.append(an_entry(seq, size=1000))
    await asyncio.sleep(0)

    written = b"".join(listener.pieces)
    assert written == render([an_entry(seq, size=1000) for seq in range(1, 1001)], WireEncoding.WEBSOCKET)
    assert max(map(len, listener.pieces)) < 300_000
    assert full.pieces == listener.pieces[:1]
    assert full.behind == [full.pieces[0].count(b"f" * 1000)]


async def test_socket_is_looked_at_once_in_so_many_bytes() -> None:
    """Small entries go to a full reader until they could have filled the room that its socket had; then it is detached."""
    log, full = a_log(), Listener(is_full=True)
    log.attach(full, 0)
    sent = 0
    while not full.behind:
        log.append(an_entry(log.ring.head + 1))
        log.flush()
        sent = sum(map(len, full.pieces))
        assert sent < 20_000

    assert sent >= 16_384
    assert full.behind == [log.ring.head]


async def test_connection_that_is_gone_costs_the_others_nothing() -> None:
    """uvloop raises for a closed transport; the readers after it receive the same."""

    @dataclass(eq=False, slots=True)
    class Gone(Listener):
        def put(self, data: bytes) -> None:
            raise RuntimeError("the handler is closed")

    log, gone, other = a_log(), Gone(), Listener()
    log.attach(gone, 0)
    log.attach(other, 0)
    log.append(an_entry(1))
    log.flush()

    assert other.pieces == [piece(1)]


async def test_watcher_falls_behind_when_something_comes_that_it_wants() -> None:
    """It is handed nothing and stands before the entry; what it does not want does not wake it."""
    log, watcher = a_log(), Listener(filter=EventFilter("ada"))
    assert not log.watch(watcher, 1)
    assert log.watch(watcher, 0)
    log.append(an_entry(1, "bob"))
    assert (watcher.behind, live(log)) == ([], {watcher})
    log.append(an_entry(2, "ada"))
    log.append(an_entry(3, "ada"))

    assert (watcher.behind, watcher.pieces, live(log)) == ([1], [], set())
    assert log.watch(watcher, 3)
    log.detach(watcher)
    log.append(an_entry(4, "ada"))
    assert watcher.behind == [1]


async def test_what_has_gathered_does_not_count_as_handed_out() -> None:
    """Between an entry and the end of its turn, readers have been served up to the entry before."""
    log, listener = a_log(5), Listener(filter=EventFilter("ada"))
    log.append(an_entry(6))
    assert log.delivered_seq == 6  # there is no reader to deliver to

    log.attach(listener, 6)
    log.append(an_entry(7, "bob"))
    assert log.delivered_seq == 7
    log.append(an_entry(8, "ada"))
    log.append(an_entry(9, "bob"))
    assert (log.head, log.delivered_seq) == (Position("epoch", 9), 7)

    await asyncio.sleep(0)
    assert log.delivered_seq == 9


async def test_detaching_is_harmless_at_any_time() -> None:
    """Twice, or before attaching: nothing happens; after the last reader nothing is kept."""
    log, listener, other = a_log(), Listener(), Listener(filter=EventFilter("ada"))
    log.detach(listener)
    log.attach(listener, 0)
    log.attach(other, 0)
    assert live(log) == {listener, other}

    for _ in range(2):
        log.detach(listener)
        log.detach(other)
    assert live(log) == set()
    log.append(an_entry(1, "ada"))
    await asyncio.sleep(0)
    assert listener.pieces == other.pieces == []


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position("epoch", 10), None),
        (Position("epoch", 7), None),
        (Position("epoch", 6), "trimmed"),
        (Position("epoch", 11), "ahead"),
        (Position("other", 8), "epoch"),
    ],
)
async def test_lost_position_has_a_reason(position: Position, reason: str | None) -> None:
    """A place is lost in another epoch, ahead of the head, or before what is kept; else it is not."""
    log = a_log(most_entries=3)
    for seq in range(1, 11):
        log.append(an_entry(seq))

    assert await log.lost(position, UUID(int=0)) == reason
    assert await log.first() == 8


async def test_pages_hold_what_is_wanted_and_say_how_far_they_looked() -> None:
    """A page without a wanted entry still moves its reader on; one before what is kept raises."""
    log = a_log(most_entries=4)
    for seq in range(1, 7):
        log.append(an_entry(seq, "ada" if seq == 4 else "bob"))

    page = await log.page(2, EventFilter("ada"), 1 << 30)
    assert ([one.seq for one in page.entries], page.seen) == ([4], 6)
    page = await log.page(4, EventFilter("ada"), 1)
    assert (page.entries, page.seen) == ([], 5)
    page = await log.page(6, ALL, 1 << 30)
    assert (page.entries, page.seen) == ([], 6)
    with pytest.raises(Trimmed):
        await log.page(1, ALL, 1 << 30)


async def test_patience_after_a_long_delivery_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was suspended in a delivery delays the next entries by two milliseconds at most, not by a part of that time."""
    now = [0.0]
    monkeypatch.setattr(batcher, "perf_counter", lambda: now[0])
    log, listener = a_log(), Listener()

    def suspended(data: bytes) -> None:
        listener.pieces.append(data)
        now[0] += 16.0

    listener.put = suspended  # type: ignore[method-assign]  # the process stands still while it writes
    assert log.attach(listener, 0)
    log.append(an_entry(1))
    log.append(an_entry(2))
    log.flush()
    log.append(an_entry(3))
    now[0] += 0.0021
    await asyncio.sleep(0)

    assert listener.pieces == [piece(1, 2), piece(3)]
