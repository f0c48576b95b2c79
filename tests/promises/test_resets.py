"""Promise: events that cannot be delivered are reported in the stream, and no disconnect can hide it; silence never means loss."""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import AsyncExitStack
from typing import Final

import pytest

from service.http.services import SERVICES
from tests.support.peer import raw_peer
from tests.support.readers import KINDS, Kind, Reader, seq_of
from tests.support.server import Login, Server, serve
from tests.support.wait import until
from tests.support.ws import connect

KEPT: Final = 5
WRITTEN: Final = 20

_numbers = itertools.count(1)


async def rename(server: Server, by: Login, times: int = 1) -> None:
    for _ in range(times):
        await server.json("PATCH", f"/v1/users/{by.id}", by, json={"name": f"name {next(_numbers)}"})


async def become(server: Server, user: Login, role: str) -> Login:
    """Change a user's role as administrator; the user, logged in again."""
    await server.json("PATCH", f"/v1/users/{user.id}", await server.admin(), json={"role": role})
    return await server.log_in(user.username)


async def lose(server: Server, who: str, reason: str) -> tuple[Login, str]:
    """An administrator or a member, and a place from which that one cannot read on, for that reason."""
    other = "member" if who == "admin" else "admin"
    ada = await become(server, await server.member(), who if reason != "rights" else other)
    here = await server.head(ada)
    epoch, seq = here.rpartition("-")[0], seq_of(here)
    match reason:
        case "trimmed":
            await rename(server, ada, KEPT + 1)
        case "ahead":
            here = f"{epoch}-{seq + 1}"
        case "rights":
            ada = await become(server, ada, who)
        case "epoch":
            async with serve() as before:  # the same service, before it was restarted
                here = await before.head(await before.admin())
        case _:
            raise AssertionError(reason)
    return ada, here


@pytest.mark.parametrize("who", ["admin", "member"])
@pytest.mark.parametrize("reason", ["trimmed", "ahead", "epoch", "rights"])
async def test_loss_is_reported_alike_over_every_wire(reason: str, who: str) -> None:
    """Over SSE by header and by address, over WebSocket, and as a 410 in pages: the same reason, the same place to go on
    from, the same path to read again; and what comes next over a stream is what is written next. Of a change of role the
    pages tell by its event, which is in them."""
    async with serve(event_retention_count=KEPT) as server:
        ada, place = await lose(server, who, reason)
        here = await server.head(ada)
        async with (
            server.feed(ada, headers={"Last-Event-ID": place}) as by_header,
            server.feed(ada, params={"after": place}) as by_address,
            connect(server, ada) as socket,
        ):
            told = []
            if reason == "rights":
                page = await server.json("GET", "/v1/events", ada, params={"after": place})
                assert ["role"] in [event.get("changed") for event in page["items"]]
            else:
                told.append(await server.json("GET", "/v1/events", ada, params={"after": place}, status=410))
            await socket.send("subscribe", after=place)
            told.append(await socket.expect("reset"))
            assert (await socket.expect("subscribed"))["position"] == here
            for feed in (by_header, by_address):
                assert (await feed.expect("hello")).id is None
                reset = await feed.expect("reset")
                assert reset.id == reset.data["position"]
                told.append(reset.data)
            resync = "/v1/users" if who == "admin" else "/v1/users/me"
            for one in told:
                assert (one["reason"], one["position"], one["resync"]) == (reason, here, resync)
            await server.json("GET", resync, ada)

            await rename(server, ada)
            following = [(await socket.expect("event"))["event"]["id"]]
            following += [(await feed.expect("user.updated")).id for feed in (by_header, by_address)]
        assert [seq_of(position) for position in following] == [seq_of(here) + 1] * 3


@pytest.mark.parametrize("place", ["nonsense", "EPOCH-01", "EPOCH--1", "EPOCH-", "-1", "EPOCH-1, EPOCH-2"])
async def test_place_that_cannot_be_read_is_never_taken_for_the_head(server: Server, place: str) -> None:
    """EventSource sends the id it has and cannot handle a refusal, so it receives `invalid`; other requests are refused."""
    ada = await server.member()
    here = await server.head(ada)
    place = place.replace("EPOCH", here.rpartition("-")[0])
    async with server.feed(ada, headers={"Last-Event-ID": place}) as feed, connect(server, ada) as socket:
        assert (await feed.expect("hello")).id is None
        reset = (await feed.expect("reset")).data
        assert (reset["reason"], reset["position"]) == ("invalid", here)
        assert (await socket.ask("subscribe", after=place))["type"] == "error"
    for path in ("/v1/feed", "/v1/events"):
        problem = await server.json("GET", path, ada, params={"after": place}, status=400)
        assert [error["pointer"] for error in problem["errors"]] == ["/after"]


async def test_event_stream_cut_off_before_its_reset_is_reset_again() -> None:
    """At whatever byte the connection breaks: EventSource comes back with a place that is not lost only once it has been
    receives the reset."""
    async with serve(event_retention_count=KEPT) as server:
        ada, place = await lose(server, "member", "trimmed")
        here = await server.head(ada)

        async def opening(last_event_id: str) -> bytes:
            """The start of a stream from there, up to the end of the reset."""
            async with raw_peer(server.port) as peer, asyncio.timeout(5):
                await peer.send(
                    f"GET /v1/feed HTTP/1.0\r\nHost: x\r\nAuthorization: {ada.headers['Authorization']}\r\n"
                    f"Last-Event-ID: {last_event_id}\r\n\r\n"
                )
                await peer.reader.readuntil(b"\r\n\r\n")
                return await peer.reader.readuntil(b"event: reset") + await peer.reader.readuntil(b"\n\n")

        whole = await opening(place)
        for size in range(len(whole) + 1):
            # WHATWG HTML, 9.2.6: an id counts from the blank line after it on, and so does an event.
            *blocks, _ = whole[:size].split(b"\n\n")
            ids = re.findall(rb"^id: (.*)$", b"\n".join(blocks), re.MULTILINE)
            assert (ids[-1].decode() if ids else place) == (here if size == len(whole) else place)
        again = await opening(place)
        assert again.partition(b"event: reset")[1:] == whole.partition(b"event: reset")[1:]


async def test_subscription_cut_off_before_its_reset_is_reset_again() -> None:
    """A socket that asks for a lost position learns no other one before the reset: if it is cut off earlier, it asks again."""
    async with serve(event_retention_count=KEPT) as server:
        ada, place = await lose(server, "member", "trimmed")
        for _ in range(2):
            async with connect(server, ada) as socket:
                await socket.send("subscribe", after=place)
                reset = await socket.expect("reset")
                answer = await socket.expect("subscribed")
                assert reset["position"] == answer["position"] == await server.head(ada)


@pytest.mark.parametrize("cut_off", [False, True], ids=["reads on", "cut off"])
@pytest.mark.parametrize("kind", KINDS)
async def test_reader_behind_the_trimmed_log_is_reset(kind: Kind, cut_off: bool) -> None:
    """A reader that stalls until its next event is trimmed receives the reset in place of the missing events; and if it is cut
    off before it reads that, when it comes back."""
    async with serve(event_retention_count=300, send_buffer=16_384) as server:
        ada = (
            await server.member()
        )  # whose events are read from the store: the ring that others read reaches further back
        reader = Reader(server.port, ada, kind, all_events=True, receive_buffer=8192)
        await reader.open()
        begin = seq_of(reader.place)
        reader.stall()
        (connection,) = server.app[SERVICES].connections
        while not connection.is_full:
            await rename(server, ada, 50)
        await rename(server, ada, 800)  # nearer by, what the store has not is still in the ring
        if cut_off:
            reader.drop(how="vanish")
            await reader.open()
        else:
            reader.go_on()
        await until(lambda: reader.resets)
        (told,) = reader.resets
        assert (told["reason"], told["position"]) == ("trimmed", await server.head(ada))
        await rename(server, ada, 3)
        new = seq_of(told["position"]) + 1
        await until(lambda: reader.taken[-1:] == [new + 2])
        old = reader.taken[:-3]
        assert reader.taken == [*range(begin + 1, begin + 1 + len(old)), new, new + 1, new + 2]
        assert reader.faults == []
        reader.drop(how="vanish")
        await until(lambda: not len(server.app[SERVICES].connections))


async def test_resuming_from_any_place_of_a_short_memory_is_never_silent_about_what_is_missing() -> None:
    """Of twenty events and twenty messages five are kept: from every position before which some are missing every wire says
    so, from every other place everything comes, and then what is new."""
    async with serve(event_retention_count=KEPT, room_history_count=KEPT) as server, AsyncExitStack() as stack:
        admin = await server.admin()
        begin = seq_of(await server.head(admin))
        speaker = await stack.enter_async_context(connect(server, admin))
        await speaker.ask("join", room="lobby")

        async def happen(number: int) -> tuple[str, str]:
            """Something in the log, something in the room: their positions."""
            await server.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": str(number)})
            return await server.head(admin), (await speaker.ask("broadcast", room="lobby", data=number))["id"]

        places = [await happen(number) for number in range(WRITTEN)]
        event, message = places[-1]
        epoch, room_epoch = event.rpartition("-")[0], message.rpartition("-")[0]
        readers: list[tuple[Reader, bool, list[int]]] = []
        for place in range(WRITTEN + 1):
            lost = place < WRITTEN - KEPT
            for room, after in ((None, f"{epoch}-{begin + place}"), ("lobby", f"{room_epoch}-{place}")):
                expected = [seq_of(after) + number for number in range(1, WRITTEN - place + 1)]

                path = "/v1/events" if room is None else f"/v1/rooms/{room}/messages"
                page = await server.json("GET", path, admin, params={"after": after}, status=410 if lost else 200)
                assert lost or [seq_of(item["id"]) for item in page["items"]] == expected

                for kind in KINDS:
                    reader = Reader(server.port, admin, kind, all_events=True, room=room)
                    stack.callback(reader.drop, how="vanish")
                    await reader.open(after)
                    readers.append((reader, lost, [] if lost else expected))

        event, message = await happen(WRITTEN)
        for reader, lost, expected in readers:
            last = seq_of(event if reader.room is None else message)
            await until(lambda: reader.taken[-1:] == [last])  # noqa: B023  # it is waited for in this very turn
            assert reader.taken == [*expected, last]
            assert len(reader.resets) == int(lost)
            assert reader.faults == []
