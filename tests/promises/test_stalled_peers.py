"""Promise: a client that does not read costs little and delays no other, and its memory and descriptor are freed in time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from service.http.services import SERVICES
from tests.support.frames import TEXT, close, frame, receive
from tests.support.gunicorn import Gunicorn, gunicorn
from tests.support.peer import raw_peer
from tests.support.readers import KINDS, Kind, Reader
from tests.support.server import Login, Server, serve
from tests.support.wait import BUSY_S, until

MESSAGE: Final = "x" * 10_000
UNBOUNDED: Final = {
    "ROSTER_MAX_CONNECTIONS_PER_USER": "0",
    "ROSTER_RATE_LIMIT": "off",
    "ROSTER_REGISTRATION_LIMIT": "off",
    "ROSTER_WRITE_LIMIT": "off",
    "ROSTER_WS_MESSAGES_PER_S": "0",
}


class Lobby:
    """A room with a speaker, and readers."""

    def __init__(self, server: Server, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    async def open(self) -> None:
        (self._speaker,) = await self.readers(await self.server.member("speaker"), 1, ("websocket",))

    async def readers(self, by: Login, count: int, kinds: tuple[Kind, ...] = KINDS, **kwargs: Any) -> list[Reader]:
        """So many more, of these kinds in turn."""
        readers = [
            Reader(self.server.port, by, kinds[number % len(kinds)], all_events=True, room="lobby", **kwargs)
            for number in range(count)
        ]
        for reader in readers:
            self._stack.callback(reader.drop, how="vanish")
            await reader.open()
        return readers

    async def speak(self, count: int, data: str = MESSAGE) -> None:
        """Send so many messages, as fast as they are taken."""
        heard = self._speaker.taken
        for place in range(len(heard), len(heard) + count):
            self._speaker.say(data)
            # What it says comes back to it: fifty may be on their way.
            await until(lambda: len(heard) > place - 50)  # noqa: B023  # waited for in this very turn
        await until(lambda: len(heard) > place)


@asynccontextmanager
async def lobby(server: Server) -> AsyncIterator[Lobby]:
    async with AsyncExitStack() as stack:
        room = Lobby(server, stack)
        await room.open()
        yield room


def records(service: Gunicorn, message: str) -> list[dict[str, Any]]:
    """The log lines with this message."""
    lines = [json.loads(line) for line in service.log().splitlines()]
    return [line for line in lines if line["msg"] == message]


@pytest.mark.gunicorn
async def test_twenty_peers_that_never_read_again_cost_next_to_nothing_and_are_gone_in_time() -> None:
    """Stalled readers, over SSE and WebSocket, of 3,000 messages of 10 KB that healthy ones beside them get at once and
    whole, cost less than one such queue would, and after `slow_client_timeout_s` and five seconds are gone with memory and descriptor;
    a log line for each names connection, user, bytes and age."""
    async with gunicorn(ROSTER_SLOW_CLIENT_TIMEOUT_S="1", **UNBOUNDED) as service, lobby(service.server) as room:
        ada, bob = await service.server.member("ada"), await service.server.member("bob")
        healthy = await room.readers(ada, 10)
        await room.speak(1_000)  # the room's ring is full from here on
        await until(lambda: all(len(reader.taken) == 1_000 for reader in healthy))
        descriptors, memory = service.descriptors(), service.rss_bytes()
        stalled = await room.readers(bob, 20, receive_buffer=8192)
        for reader in stalled:
            reader.stall()
        began = time.monotonic()
        peak = memory

        speaking = asyncio.create_task(room.speak(3_000))
        while not speaking.done():
            peak = max(peak, service.rss_bytes())
            await asyncio.sleep(0.01)
        await until(lambda: all(len(reader.taken) == 4_000 for reader in healthy), timeout=2 + BUSY_S)
        assert records(service, "stream ended") == [], "healthy readers got everything beside them, not after them"

        await until(lambda: service.descriptors() <= descriptors, timeout=12)
        assert 6 <= time.monotonic() - began < 12
        assert max(peak, service.rss_bytes()) - memory < 30_000_000
        slow = records(service, "client reads too slowly; closing the stream")
        assert {line["user"] for line in slow} == {bob.id}
        assert len({line["connection"] for line in slow}) == len(slow) == 20
        assert [line["kind"] for line in slow].count("websocket") == 10
        assert all(line["buffered_bytes"] >= 65_536 and line["age_s"] >= 1 for line in slow)
        await until(lambda: len(records(service, "stream ended")) == 20)
        ends = {line["connection"]: line["reason"] for line in records(service, "stream ended")}
        assert ends == {line["connection"]: "too_slow" for line in slow}
        await room.speak(1)
        await until(lambda: all(len(reader.taken) == 4_001 for reader in healthy))
        assert [reader.faults for reader in healthy if reader.faults] == []


@pytest.mark.gunicorn
async def test_peer_that_answers_no_heartbeat_is_gone_with_all_that_was_written_to_it() -> None:
    """A WebSocket whose buffer is full does not outlive its heartbeat: neither does its descriptor."""
    async with gunicorn(ROSTER_WS_HEARTBEAT_S="1", **UNBOUNDED) as service, lobby(service.server) as room:
        bob = await service.server.member("bob")
        descriptors = service.descriptors()
        for reader in await room.readers(bob, 5, ("websocket",), receive_buffer=8192):
            reader.stall()
        await room.speak(600)
        await until(lambda: service.descriptors() <= descriptors, timeout=5)
        assert records(service, "client reads too slowly; closing the stream") == []
        await until(lambda: [line["user"] for line in records(service, "stream ended")] == [bob.id] * 5)


async def test_peer_that_says_goodbye_and_then_reads_on_is_let_go_without_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client that closes a WebSocket with a full buffer, and reads the rest before it is torn down, costs nothing more."""
    async with (
        serve(send_buffer=16_384) as server,
        lobby(server) as room,
        raw_peer(server.port, receive_buffer=8192) as peer,
    ):
        bob = await server.member()
        await peer.upgrade("/v1/ws", f"Authorization: {bob.headers['Authorization']}")
        await peer.send(frame(TEXT, json.dumps({"type": "join", "room": "lobby"})))
        while (await receive(peer)).json["type"] != "joined":
            pass
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
        (connection,) = (one for one in server.app[SERVICES].connections if one.principal.user == bob.id)
        while not connection.is_full:
            await room.speak(10)
        await peer.send(close(1000))
        await until(lambda: connection not in server.app[SERVICES].connections)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        assert await peer.is_closed()
        await asyncio.sleep(1.1)  # a second is the time that it would have had
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_one_stalled_member_delays_no_other() -> None:
    """Fifty members of a room get 300 messages of 20 KB while the buffer of one that reads nothing is full, all of them
    before that one is ended: no other reader waits for it."""
    async with serve(send_buffer=65_536) as server, lobby(server) as room:
        ada, bob = await server.member(), await server.member()
        healthy = await room.readers(ada, 50)
        (stalled,) = await room.readers(bob, 1, ("websocket",), receive_buffer=8192)
        stalled.stall()
        (connection,) = [one for one in server.app[SERVICES].connections if one.principal.user == bob.id]
        spoken = 0  # not what a reader has: on a busy machine the messages may still be on their way to it
        while not connection.is_full:
            await room.speak(10, MESSAGE * 2)
            spoken += 10
        await room.speak(300, MESSAGE * 2)
        await until(lambda: all(len(reader.taken) == spoken + 300 for reader in healthy), timeout=20)
        assert connection.is_full
        assert connection.ending is None
        assert [reader.faults for reader in healthy if reader.faults] == []
