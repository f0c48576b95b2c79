"""The common part of both kinds of stream: writing that never waits or raises, and catching up in turns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from service.realtime import close_reasons
from service.realtime.broadcast_log import BroadcastLog
from service.realtime.connection import Connection, close_socket
from service.realtime.encoding import WireEncoding
from service.realtime.reader import Reader
from service.realtime.ring import Ring
from service.realtime.subscribers import FULL_BYTES, EventFilter
from tests.support.streams import FakeStream, a_principal, an_entry
from tests.support.wait import until


class FakeTransport(asyncio.Transport):
    """A socket that takes nothing; once closed it raises for every write, as uvloop's does."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0 if self.aborted else len(self.written)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class Stream(Connection):
    kind = "feed"

    def __init__(self, transport: asyncio.Transport | None) -> None:
        request = cast(Any, SimpleNamespace(transport=transport, writer=None))
        super().__init__(cast(web.Request, request), WireEncoding.PLAIN, a_principal(), "127.0.0.1")
        self.left = 0

    def wake(self) -> None: ...

    def send_close_notice(self) -> None:
        self.left += 1


def no_trim() -> None:
    raise AssertionError("nothing was trimmed")


def test_writing_says_when_the_socket_is_full() -> None:
    """False from the byte on that fills it; everything is counted."""
    stream = Stream(transport := FakeTransport())

    assert stream.write(b"x" * (FULL_BYTES - 1))
    assert not stream.is_full
    assert not stream.write(b"x")
    assert stream.is_full
    assert stream.sent_bytes == stream.buffered_bytes == len(transport.written) == FULL_BYTES


async def test_writing_to_a_closed_socket_is_harmless() -> None:
    """An exception would otherwise cost the next readers of the same batch their entries."""
    log, other = BroadcastLog("epoch", Ring(0, 10, 1 << 30)), FakeStream()
    transports = [FakeTransport() for _ in range(3)]
    streams = [Stream(transport) for transport in transports]
    for stream in (*streams, other):
        stream.readers.append(reader := Reader(log, stream, EventFilter(), 0, no_trim))
        await reader.step()
    transports[1].close()
    transports[2].abort()
    log.append(an_entry(1))
    log.flush()

    assert [bool(transport.written) for transport in transports] == [True, False, False]
    assert other.written_seqs == [1]


def test_stream_cannot_be_opened_on_a_socket_that_is_gone() -> None:
    """The client left before its request was looked at."""
    with pytest.raises(ConnectionResetError):
        Stream(None)


def test_leave_is_taken_once() -> None:
    """However often a stream is ended."""
    stream = Stream(FakeTransport())
    for ending in (close_reasons.RESTART, close_reasons.EXPIRED):
        stream.end(ending)
    assert (stream.left, stream.ending) == (1, close_reasons.RESTART)


async def test_socket_let_go_has_a_little_time_for_what_was_written() -> None:
    """A peer that takes the rest is not torn down; one that does not is, and gone is gone."""

    class Closed(web.WebSocketResponse):
        closed_ = 0

        async def close(self, **_: object) -> bool:
            self.closed_ += 1
            return True

    stuck, empty, socket = FakeTransport(), FakeTransport(), Closed()
    stuck.write(b"x")
    for transport in (stuck, empty, None):
        await close_socket(socket, transport)
    assert socket.closed_ == 3
    assert (stuck.closed, stuck.aborted) == (True, False)
    await until(lambda: stuck.aborted)
    assert (empty.closed, empty.aborted) == (True, False)


async def test_readers_that_are_behind_take_turns() -> None:
    """A reader of one room with a long way to go does not delay another that is nearly live."""
    stream = FakeStream()
    logs = [BroadcastLog(f"log{number}", Ring(0, 10_000, 1 << 30)) for number in range(2)]
    for log, count in zip(logs, (5000, 100), strict=True):
        for seq in range(1, count + 1):
            log.append(an_entry(seq, size=1000))
    far, near = (Reader(log, stream, EventFilter(), 0, no_trim) for log in logs)
    stream.readers += [far, near]
    task = asyncio.create_task(stream.catch_up())
    while not near.live:
        stream.read()
        await asyncio.sleep(0)

    assert far.position.seq < 1000
    while not task.done():
        stream.read()
        await asyncio.sleep(0)
    assert far.live
    stream.close()
    assert [list(log.live_readers()) for log in logs] == [[], []]


async def test_catching_up_stops_when_the_stream_ends_or_its_reader_is_taken_out() -> None:
    """Entries that wait for the socket meanwhile are not written any more."""
    for stop in ("end", "take out"):
        log, stream = BroadcastLog("epoch", Ring(0, 10_000, 1 << 30)), FakeStream(full_bytes=10)
        for seq in range(1, 2000):
            log.append(an_entry(seq, size=1000))
        stream.readers.append(reader := Reader(log, stream, EventFilter(), 0, no_trim))
        task = asyncio.create_task(stream.catch_up())
        await until(lambda stream=stream: stream.is_full)  # type: ignore[misc]  # bound in the loop
        written = stream.sent_bytes
        if stop == "end":
            stream.end(close_reasons.RESTART)
        else:
            reader.close()
            stream.readers.clear()
        stream.read()
        await asyncio.wait_for(task, 5)
        assert stream.sent_bytes == written
        assert list(log.live_readers()) == []
