"""Readers that live, fall behind, read on, come and go: each sees exactly what it wants, in order, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from service.domain.events.position import Position
from service.realtime.broadcast_log import BroadcastLog, Page
from service.realtime.close_reasons import LIMIT
from service.realtime.encoding import EncodedEntry
from service.realtime.reader import PAGE_BYTES, LimitedReader, Reader
from service.realtime.ring import Ring
from service.realtime.subscribers import EventFilter
from tests.support.streams import FakeStream, an_entry

KEYS = ("ada", "bob", None)
EVENTS = ("created", "updated")


class StoredLog(BroadcastLog):
    """A log whose ring is short and whose store keeps everything, but takes its time to answer."""

    def __init__(self, head: int, ring: int, waits: Callable[[], int]) -> None:
        super().__init__("epoch", Ring(head, ring, 1 << 30))
        self.entries: list[EncodedEntry] = [an_entry(seq) for seq in range(1, head + 1)]
        self._waits = waits

    def append(self, entry: EncodedEntry) -> None:
        self.entries.append(entry)
        super().append(entry)

    async def page(self, after: int, wanted: EventFilter, most_bytes: int) -> Page:
        if self.ring.reaches(after):
            return await super().page(after, wanted, most_bytes)
        found = self.entries[after : after + 7]
        for _ in range(self._waits()):
            await asyncio.sleep(0)
        return Page([entry for entry in found if wanted.matches(entry)], found[-1].seq if found else after)


def no_trim() -> None:
    raise AssertionError("nothing was trimmed")


async def settle(stream: FakeStream) -> None:
    """Read until every reader of the stream is live, as its own task would."""
    task = asyncio.create_task(stream.catch_up())
    while not task.done():
        stream.read()
        await asyncio.sleep(0)
    await task
    stream.read()


@dataclass(slots=True)
class Visit:
    """One reader from its beginning to its end, and what it must have seen by then."""

    log: StoredLog
    filter: EventFilter
    start: int
    limit: int | None
    stream: FakeStream = field(init=False)
    reader: Reader = field(init=False)
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.stream = FakeStream(full_bytes=400)
        if self.limit is None:
            self.reader = Reader(self.log, self.stream, self.filter, self.start, no_trim)
        else:
            self.reader = LimitedReader(self.log, self.stream, self.filter, self.start, no_trim, self.limit)
        self.stream.readers.append(self.reader)
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while self.stream.ending is None:
            await self.stream.catch_up()
            await self.stream.woken.wait()
            self.stream.woken.clear()

    def wanted(self) -> list[int]:
        """The entries after its start, up to its limit."""
        return [entry.seq for entry in self.log.entries[self.start :] if self.filter.matches(entry)][: self.limit]

    def check(self) -> None:
        """The entries read are a prefix of the expected ones, and every reported position is true."""
        seen, wanted = self.stream.seqs, self.wanted()
        assert seen == wanted[: len(seen)]
        served = len(self.stream.written_seqs)
        assert all(seq > self.reader.position.seq for seq in wanted[served:])

    async def leave(self) -> int:
        """Go at once, and say up to where it was served, as a client would that comes back."""
        position = self.reader.position.seq
        self.stream.close()
        self.stream.read()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        return position


@pytest.mark.parametrize("seed", range(12))
async def test_every_reader_sees_what_it_wants_in_order_without_gap_or_repeat(seed: int) -> None:
    """Through random bursts, stalls, departures and returns, with readers of every kind at every place."""
    chance = random.Random(seed)
    log = StoredLog(chance.randint(0, 30), chance.randint(1, 40), lambda: chance.randint(0, 3))
    visits: list[Visit] = []

    def visit(start: int) -> None:
        events = chance.choice((None, None, frozenset({"created"})))
        limit = chance.choice((None, None, chance.randint(1, 60)))
        visits.append(Visit(log, EventFilter(chance.choice(KEYS), events), start, limit))

    for number in range(300):
        match chance.choice(("append", "append", "come", "go", "read", "read", "turn", "turn")):
            case "append":
                for _ in range(chance.choice((1, 1, 3, 30))):
                    log.append(an_entry(log.ring.head + 1, chance.choice(KEYS), chance.choice(EVENTS)))
            case "come" if len(visits) < 12:
                visit(chance.choice((0, log.ring.head, chance.randint(0, log.ring.head))))
            case "go" if visits:
                gone = visits.pop(chance.randrange(len(visits)))
                place = await gone.leave()
                gone.check()
                # Who comes back where it was served has missed nothing and sees nothing twice.
                assert gone.stream.seqs == [seq for seq in gone.wanted() if seq <= place][: gone.limit]
                visit(place)
            case "read":
                for one in visits:
                    if chance.random() < 0.5:
                        one.stream.read(chance.choice((10, 1000, None)))
            case _:
                await asyncio.sleep(0)
        if visits:
            visits[number % len(visits)].check()

    for one in visits:
        while not one.task.done() and (one.stream.buffered or not one.reader.live):
            one.stream.read()
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        one.stream.read()
        assert one.stream.seqs == one.wanted()
        assert (one.stream.ending is LIMIT) == (len(one.wanted()) == one.limit)
        await one.leave()
    assert list(log.live_readers()) == []


async def test_reader_behind_the_ring_is_reset_and_goes_on_from_the_head() -> None:
    """Trimmed entries are reported; entries after the report are read."""
    log, stream = BroadcastLog("epoch", Ring(0, 5, 1 << 30)), FakeStream()
    told: list[int] = []
    reader = Reader(log, stream, EventFilter(), 2, lambda: told.append(log.ring.head))
    stream.readers.append(reader)
    for seq in range(1, 11):
        log.append(an_entry(seq))

    await settle(stream)
    log.append(an_entry(11))
    log.flush()
    stream.read()

    assert told == [10]
    assert stream.seqs == [11]


async def test_full_reader_falls_behind_and_reads_on_when_there_is_room() -> None:
    """A full socket takes little more than what filled it, however much is written meanwhile."""
    log, stream = BroadcastLog("epoch", Ring(0, 10_000, 1 << 30)), FakeStream()
    stream.readers.append(reader := Reader(log, stream, EventFilter(), 0, no_trim))
    await settle(stream)
    assert reader.live

    for seq in range(1, 5001):
        log.append(an_entry(seq))
        if not seq % 100:
            await asyncio.sleep(0)

    assert not reader.live
    assert stream.woken.is_set()
    assert stream.buffered_bytes < stream.full_bytes + 16_384 + 100 * 40
    assert reader.position == Position("epoch", stream.written_seqs[-1])
    await settle(stream)
    stream.read()
    assert stream.seqs == list(range(1, 5001))
    assert reader.live


async def test_page_of_a_reader_that_is_behind_is_bounded() -> None:
    """However late, one step writes about one page."""
    log, stream = BroadcastLog("epoch", Ring(0, 10_000, 1 << 30)), FakeStream(full_bytes=1 << 30)
    reader = Reader(log, stream, EventFilter(), 0, no_trim)
    for seq in range(1, 5001):
        log.append(an_entry(seq, size=1000))

    await reader.step()

    assert 0 < stream.buffered.count(b"data: ") <= PAGE_BYTES // 1000


async def test_reader_closed_while_the_store_answers_writes_nothing_and_stays_away() -> None:
    """An answer that comes too late is not sent, and does not bring its reader back into the log."""
    gate = asyncio.Event()

    class SlowLog(StoredLog):
        async def page(self, after: int, wanted: EventFilter, most_bytes: int) -> Page:
            await gate.wait()
            return await super().page(after, wanted, most_bytes)

    log, stream = SlowLog(3, 10, lambda: 0), FakeStream()
    reader = Reader(log, stream, EventFilter(), 0, no_trim)
    step = asyncio.create_task(reader.step())
    await asyncio.sleep(0)
    reader.close()
    gate.set()
    await step

    assert stream.buffered == b""
    assert list(log.live_readers()) == []
    assert not reader.live


async def test_ended_stream_is_handed_nothing_more() -> None:
    """From the very turn in which a stream ends, nothing that is written reaches it."""
    log, stream = BroadcastLog("epoch", Ring(0, 100, 1 << 30)), FakeStream()
    stream.readers.append(Reader(log, stream, EventFilter(), 0, no_trim))
    await settle(stream)

    stream.end(LIMIT)
    log.append(an_entry(1))
    log.flush()

    assert stream.buffered == b""
    assert list(log.live_readers()) == []


async def test_limit_ends_the_stream_after_exactly_so_many() -> None:
    """Entries delivered in one piece with the last expected one are cut off after it."""
    log, stream = BroadcastLog("epoch", Ring(0, 100, 1 << 30)), FakeStream()
    stream.readers.append(LimitedReader(log, stream, EventFilter(), 0, no_trim, 3))
    log.append(an_entry(1))
    await settle(stream)
    assert (stream.seqs, stream.ending) == ([1], None)

    for seq in range(2, 8):
        log.append(an_entry(seq))
    log.flush()
    await settle(stream)
    stream.read()

    assert (stream.seqs, stream.ending) == ([1, 2, 3], LIMIT)


async def test_limited_reader_does_not_age_while_others_are_written_about() -> None:
    """Entries of others do not trim it: it resumes from where it was served, not from where it began."""
    log, stream = BroadcastLog("epoch", Ring(0, 5, 1 << 30)), FakeStream()
    stream.readers.append(LimitedReader(log, stream, EventFilter("ada"), 0, no_trim, 2))
    await settle(stream)
    for seq in range(1, 50):
        log.append(an_entry(seq, "bob"))
        await asyncio.sleep(0)

    log.append(an_entry(50, "ada"))
    log.flush()
    await settle(stream)
    stream.read()

    assert stream.seqs == [50]


async def test_limited_reader_sees_what_came_in_one_turn_with_others() -> None:
    """The pending entries of one turn are all after the position from which it resumes."""
    log, stream = BroadcastLog("epoch", Ring(0, 5, 1 << 30)), FakeStream()
    stream.readers.append(LimitedReader(log, stream, EventFilter("ada"), 0, no_trim, 3))
    await settle(stream)

    for seq, key in enumerate(("bob", "ada", "ada", "bob"), 1):
        log.append(an_entry(seq, key))
    await asyncio.sleep(0)
    await settle(stream)
    stream.read()

    assert stream.seqs == [2, 3]
