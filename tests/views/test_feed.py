"""The feed over server-sent events, on real sockets."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from unittest import mock

import aiohttp
import pytest

from service.domain.errors import InvalidToken
from service.http.services import SERVICES
from service.realtime.connection import Connection
from service.realtime.connection_registry import ConnectionRegistry
from tests.support.domain import a_user, keep
from tests.support.drawn import repetitions
from tests.support.peer import RawPeer, raw_peer
from tests.support.readers import seq_of
from tests.support.revocation import deactivate, delete, log_out, promote
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.sse import Frame, Stream
from tests.support.wait import BUSY_S, until
from tests.support.ws import connect


def epoch(server: Server) -> str:
    return server.app[SERVICES].hub.epoch


async def rename(server: Server, by: Login, name: str) -> int:
    """Have a user change its own name; the seq of the event."""
    user = await server.json("PATCH", f"/v1/users/{by.id}", by, json={"name": name})
    version: int = user["version"]
    return version


async def write(server: Server, count: int, *, a_turn: int = 20) -> None:
    """Commit so many events, as fast as the store takes them, several in a turn of the loop."""
    for number in range(count):
        await keep(server.app[SERVICES].store, a_user(name="x" * 100))
        if not number % a_turn:
            await asyncio.sleep(0)


async def take(stream: Stream, count: int) -> list[Frame]:
    """The next so many events, none of which ends or resets the stream."""
    frames = []
    for _ in range(count):
        frame = await stream.next()
        assert frame is not None
        assert frame.event not in ("closing", "reset"), frame
        frames.append(frame)
    return frames


def seqs(frames: list[Frame]) -> list[int]:
    return [seq_of(frame.id or "") for frame in frames]


async def closing(stream: Stream, timeout_s: float = 5.0) -> Any:
    """The data of `closing`, after any events before it; the stream must end after it."""
    while (frame := await stream.next(timeout_s)) is not None and frame.event != "closing":
        pass
    assert frame is not None, "the stream ended without a word"
    assert await stream.next() is None
    return frame.data


async def ids(stream: Stream, last: int) -> list[int]:
    """The seqs of all ids from `hello` on until that one, read without looking at what they stand on."""
    body = b""
    async with asyncio.timeout(20):
        while f"-{last}\nevent".encode() not in body:
            body += await stream.response.content.readany()
    assert b"event: reset" not in body
    return [int(found) for found in re.findall(rb"^id: [a-z0-9]+-([0-9]+)$", body, re.MULTILINE)]


def connections(server: Server) -> ConnectionRegistry:
    return server.app[SERVICES].connections


@asynccontextmanager
async def stalled(server: Server, by: Login, path: str = "/v1/feed") -> AsyncIterator[RawPeer]:
    """A peer that has opened a feed and does not read it; the server must have `send_buffer`, or the kernel takes 4 MB for it."""
    async with raw_peer(server.port, receive_buffer=1024, limit=1 << 30) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
        await peer.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {by.headers['Authorization']}\r\n\r\n")
        before = len(connections(server))
        await until(lambda: len(connections(server)) > before or connections(server))
        yield peer


# --- What it says first -----------------------------------------------------------------------------------------------


async def test_feed_without_a_place_begins_at_the_head(server: Server) -> None:
    """`hello` comes first with the head as id and position; earlier events do not come, later ones do."""
    ada = await server.member()
    position = await server.head(ada)
    async with server.feed(ada) as stream:
        hello = await stream.expect("hello")
        assert (hello.id, hello.data) == (position, {"position": position})

        changed = await rename(server, ada, "Ada")
        event = await stream.expect("user.updated")
    assert event.id == event.data["id"] == f"{epoch(server)}-{changed}"
    assert (event.data["subject"], event.data["changed"], event.data["user"]["name"]) == (ada.id, ["name"], "Ada")


async def test_feed_from_zero_holds_everything(server: Server) -> None:
    """`after=0` begins before the oldest event and continues live with no gap."""
    admin = await server.admin()
    await write(server, 20)
    async with server.feed(admin, params={"after": "0"}) as stream:
        hello = await stream.expect("hello")
        assert hello.id == hello.data["position"] == f"{epoch(server)}-0"
        await write(server, 20)
        assert seqs(await take(stream, 41)) == list(range(1, 42))


async def test_feed_goes_on_behind_the_place_asked_for(server: Server) -> None:
    """`hello` repeats the position; the first event is the next one."""
    admin = await server.admin()
    await write(server, 10)
    place = f"{epoch(server)}-7"
    async with server.feed(admin, params={"after": place}) as stream:
        hello = await stream.expect("hello")
        assert (hello.id, hello.data) == (place, {"position": place})
        assert seqs(await take(stream, 4)) == [8, 9, 10, 11]


async def test_last_event_id_wins_over_the_address(server: Server) -> None:
    """EventSource comes back with the address it began with; where it was stands in the header."""
    admin = await server.admin()
    await write(server, 10)
    place = f"{epoch(server)}-9"
    async with server.feed(admin, params={"after": "0"}, headers={"Last-Event-ID": place}) as stream:
        assert (await stream.expect("hello")).id == place
        assert seqs(await take(stream, 2)) == [10, 11]
    async with server.feed(admin, params={"after": place}, headers={"Last-Event-ID": ""}) as stream:
        assert (await stream.expect("hello")).id == place


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("other-3", "epoch"),
        ("EPOCH-4", "trimmed"),
        ("EPOCH-1000", "ahead"),
        ("nonsense", "invalid"),
        ("EPOCH-01", "invalid"),
        ("EPOCH--1", "invalid"),
        ("k3f9q2xw-1041, k3f9q2xw-1042", "invalid"),
    ],
)
async def test_lost_position_is_a_reset_in_the_stream(place: str, reason: str) -> None:
    """`hello` has no id, `reset` carries the new one, and the stream goes on from there."""
    async with serve(event_retention_count=5) as server:
        admin = await server.admin()
        await write(server, 10)
        position = await server.head(admin)
        place = place.replace("EPOCH", epoch(server))
        async with server.feed(admin, headers={"Last-Event-ID": place}) as stream:
            hello, reset = await stream.expect("hello"), await stream.expect("reset")
            assert (hello.id, hello.data) == (None, {"position": position})
            assert reset.id == position
            assert reset.data == {"reason": reason, "position": position, "resync": "/v1/users"}

            await write(server, 1)
            assert seqs(await take(stream, 1)) == [seq_of(position) + 1]


async def test_lost_position_in_the_query_is_a_reset_too(server: Server) -> None:
    """A place of another log in `after` is well-formed: 200 and `reset`; a member reads itself again."""
    ada = await server.member()
    async with server.feed(ada, params={"after": "other-3"}) as stream:
        await stream.expect("hello")
        reset = await stream.expect("reset")
    assert (reset.data["reason"], reset.data["resync"]) == ("epoch", "/v1/users/me")


async def test_retry_differs_from_stream_to_stream(server: Server) -> None:
    """Readers that were cut off together do not reconnect together."""
    ada = await server.member()
    retries = []
    for _ in range(20):
        async with server.feed(ada, params={"after": "0"}) as stream:
            retries.append((await stream.expect("hello")).retry or 0)

    assert len(set(retries)) > 10
    assert all(1000 <= retry <= 4000 for retry in retries)


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "after=nonsense",
        "after=",
        "after=1",
        "after=a-01",
        "after=a-1%0A",
        "after=a-1&after=a-2",
        "types=user.exploded",
        "types=",
        "types=user.created,",
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=1.0",
        "since=a-1",
    ],
)
async def test_malformed_query_is_refused(server: Server, query: str) -> None:
    """An invalid query is a 400 with the parameter named, before any stream begins."""
    ada = await server.member()
    problem = await server.json("GET", f"/v1/feed?{query}", ada, status=400)
    assert problem["type"] == "/problems/bad-request"


async def test_feed_asks_for_credentials(server: Server) -> None:
    """Without a token, with a bad one or with an unknown ticket there is no stream."""
    for query, headers in (("", {}), ("", {"Authorization": "Bearer x.y.z"}), ("?ticket=unknown", {})):
        async with server.request("GET", f"/v1/feed{query}", headers=headers) as answer:
            assert answer.status == 401
            assert answer.content_type == "application/problem+json"
    assert len(connections(server)) == 0


async def test_only_the_types_asked_for_come(server: Server) -> None:
    """Other types are skipped, in replay as well as live."""
    admin, ada = await server.admin(), await server.member()
    await rename(server, ada, "before")
    types = "user.updated,user.deleted"
    async with server.feed(admin, params={"after": "0", "types": types}) as stream:
        await stream.expect("hello")
        assert (await stream.expect("user.updated")).data["user"]["name"] == "before"
        await server.member()
        await rename(server, ada, "after")
        await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=204)
        assert (await stream.expect("user.updated")).data["user"]["name"] == "after"
        assert (await stream.expect("user.deleted")).data["subject"] == ada.id


async def test_limit_ends_the_stream_after_so_many(server: Server) -> None:
    """Replayed and live events count alike; events that came at once with the last are not sent."""
    admin = await server.admin()
    await write(server, 3)
    async with server.feed(admin, params={"after": f"{epoch(server)}-2", "limit": "5"}) as stream:
        await stream.expect("hello")
        assert seqs(await take(stream, 2)) == [3, 4]
        await keep(server.app[SERVICES].store, *(a_user() for _ in range(9)))
        assert seqs(await take(stream, 3)) == [5, 6, 7]
        ending = await stream.expect("closing")
        assert await stream.next() is None
    assert ending.data["reason"] == "limit"
    assert ending.retry == ending.data["reconnect_after_ms"] >= 250
    assert stream.last_id == f"{epoch(server)}-7"
    await until(lambda: len(connections(server)) == 0)


async def test_connection_is_clean_after_a_stream_that_ended(server: Server) -> None:
    """The body ends where its chunks say so: the same connection carries the next request."""
    admin = await server.admin()
    request = (
        f"GET /v1/feed?after=0&limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: {admin.headers['Authorization']}\r\n\r\n"
    )
    async with raw_peer(server.port) as peer:
        for _ in range(3):
            await peer.send(request)
            answer = await peer.answer()
            assert answer.status == 200
            assert answer.body.rstrip().endswith(b"}")
            assert answer.body.count(b"event: closing") == 1


async def test_member_sees_itself_and_an_admin_everybody(server: Server) -> None:
    """Events about others do not reach a member, live or from the log."""
    admin, ada, bob = await server.admin(), await server.member(), await server.member()
    async with server.feed(ada, params={"after": "0"}) as own, server.feed(admin) as all_of_it:
        await own.expect("hello")
        await all_of_it.expect("hello")
        begun = [await rename(server, who, f"name {number}") for number in range(10) for who in (bob, ada)]

        assert {frame.data["subject"] for frame in await take(own, 11)} == {ada.id}
        assert [frame.data["subject"] for frame in await take(all_of_it, 20)] == [bob.id, ada.id] * 10
    assert own.last_id == all_of_it.last_id == f"{epoch(server)}-{begun[-1]}"


# --- Pings ------------------------------------------------------------------------------------------------------------


async def test_ping_moves_the_place_of_a_quiet_member() -> None:
    """Pings carry the position served: others' events do not age a member's place into a false reset."""
    async with serve(sse_keepalive_s=0.05, event_retention_count=5) as server:
        ada = await server.member()
        async with server.feed(ada) as stream:
            await stream.expect("hello")
            await write(server, 20, a_turn=1)
            position = await server.head(ada)
            while (ping := await stream.frame()) and ping.id != position:
                assert (ping.event, ping.data) == ("ping", {"position": ping.id})
        async with server.feed(ada, headers={"Last-Event-ID": position}) as stream:
            assert (await stream.expect("hello")).id == position


async def test_ping_never_runs_ahead_of_the_events() -> None:
    """Whatever id a reader holds, pings included, it has received every event up to it."""
    async with serve(sse_keepalive_s=0.002) as server:
        admin = await server.admin()
        async with server.feed(admin, params={"after": "0"}) as stream:
            await stream.expect("hello")
            writer = asyncio.create_task(write(server, 2000))
            seen = pings = 0
            while seen < 2001:
                frame = await stream.frame()
                assert frame is not None
                if frame.event == "ping":
                    pings += 1
                    assert frame.id == f"{epoch(server)}-{seen}"
                else:
                    seen += 1
                    assert frame.id == f"{epoch(server)}-{seen}"
            await writer
        assert pings


# --- Forms of the answer ----------------------------------------------------------------------------------------------


async def test_headers_keep_proxies_from_holding_events_back(server: Server) -> None:
    """Nothing caches, transforms or buffers the stream."""
    ada = await server.member()
    async with server.feed(ada) as stream:
        headers = stream.response.headers
        assert headers["Cache-Control"] == "no-cache, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Transfer-Encoding"] == "chunked"
        assert "Content-Encoding" not in headers


async def test_head_has_the_headers_and_no_stream(server: Server) -> None:
    """HEAD answers at once and leaves the connection ready for the next request."""
    ada = await server.member()
    async with raw_peer(server.port) as peer:
        for _ in range(2):
            authorization = f"Authorization: {ada.headers['Authorization']}"
            await peer.send(f"HEAD /v1/feed HTTP/1.1\r\nHost: x\r\n{authorization}\r\n\r\n")
            answer = await peer.answer(head=True)
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/event-stream"
    assert len(connections(server)) == 0


async def test_http_1_0_gets_a_plain_stream(server: Server) -> None:
    """Without chunks, which such a proxy would pass on as content; the end of the connection is the end."""
    admin = await server.admin()
    async with raw_peer(server.port) as peer:
        await peer.send(
            f"GET /v1/feed?after=0&limit=3 HTTP/1.0\r\nHost: x\r\nAuthorization: {admin.headers['Authorization']}\r\n\r\n"
        )
        await write(server, 5)
        answer = await peer.answer()
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    blocks = answer.body.decode().split("\n\n")
    assert [block.split("event: ")[1].split("\n")[0] for block in blocks[:-1]] == [
        "hello",
        "user.created",
        "user.created",
        "user.created",
        "closing",
    ]
    assert blocks[-1] == ""


# --- Tickets ----------------------------------------------------------------------------------------------------------


async def test_browser_comes_back_with_the_cookie_that_came_with_its_ticket(server: Server) -> None:
    """EventSource repeats the address, whose ticket is spent by then; the cookie speaks for it while the session lives."""
    ada = await server.member()
    async with aiohttp.ClientSession(server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post("/v1/auth/ticket", headers=ada.headers) as answer:
            ticket = (await answer.json())["ticket"]
        for _ in range(2):
            async with browser.get("/v1/feed", params={"ticket": ticket}) as answer:
                assert answer.status == 200
                await Stream(answer).expect("hello")
        async with browser.get(
            "/v1/feed", params={"ticket": ticket}, headers={"Origin": "https://evil.test"}
        ) as answer:
            assert answer.status == 403
        await server.json("POST", "/v1/auth/logout", ada, status=204)
        async with browser.get("/v1/feed", params={"ticket": ticket}) as answer:
            assert answer.status == 401


async def test_ticket_opens_one_stream(server: Server) -> None:
    """A ticket from a log is useless."""
    ada = await server.member()
    ticket = (await server.json("POST", "/v1/auth/ticket", ada))["ticket"]
    async with aiohttp.ClientSession(server.url, cookie_jar=aiohttp.DummyCookieJar()) as other:
        async with other.get("/v1/feed", params={"ticket": ticket}) as answer:
            assert answer.status == 200
        async with other.get("/v1/feed", params={"ticket": ticket}) as answer:
            assert answer.status == 401


# --- How it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (log_out, "session_ended"),
        (deactivate, "account_gone"),
        (delete, "account_gone"),
        (promote, "rights_changed"),
    ],
)
async def test_revocation_ends_the_stream_within_a_second(server: Server, act: Any, reason: str) -> None:
    """The event of the revocation is the last one; then `closing` gives the reason."""
    admin, ada, bob = await server.admin(), await server.member(), await server.member()
    async with server.feed(ada) as stream, server.feed(bob) as other:
        await stream.expect("hello")
        await other.expect("hello")
        began = time.monotonic()
        await act(server, admin, ada)
        ending = await closing(stream)
        assert time.monotonic() - began < 1 + BUSY_S
        await rename(server, bob, "Bob")
        await other.expect("user.updated")
    assert ending["reason"] == reason
    assert (ending["reconnect_after_ms"] is None) == (reason != "rights_changed")


async def test_other_sessions_of_the_user_stay(server: Server) -> None:
    """Logging out ends the streams of one session and no others."""
    ada = await server.member()
    elsewhere = await server.log_in(ada.username, PASSWORD)
    async with server.feed(ada) as stream, server.feed(elsewhere) as other:
        await stream.expect("hello")
        await other.expect("hello")
        await log_out(server, ada, ada)
        assert (await closing(stream))["reason"] == "session_ended"
        assert (await other.expect("session.ended")).data["reason"] == "logout"
        await rename(server, elsewhere, "Ada")
        await other.expect("user.updated")


async def test_demoted_admin_sees_nothing_that_was_committed_behind(server: Server) -> None:
    """Not even what this process finds in the log together with the demotion."""
    admin, second = await server.admin(), await server.member()
    await promote(server, admin, second)
    second = await server.log_in(second.username)
    store, gate = server.app[SERVICES].store, asyncio.Event()
    events = store.events.list_page

    async def late(query: Any) -> Any:
        await gate.wait()
        return await events(query)

    async with server.feed(second) as stream, connect(server, second) as client:
        await stream.expect("hello")
        await client.ask("subscribe")
        with mock.patch.object(store.events, "list_page", late):
            await server.json("PATCH", f"/v1/users/{second.id}", admin, json={"role": "member"})
            await write(server, 5)
            gate.set()
            assert (await stream.expect("closing")).data["reason"] == "rights_changed"
            assert await stream.next() is None
            assert (await client.expect("closing"))["reason"] == "rights_changed"
            assert await client.next() is None
            assert client.socket.close_code == 4401


async def test_place_before_a_change_of_role_is_lost(server: Server) -> None:
    """A new administrator has not seen earlier events of others: the feed and the socket say so; in pages the event
    stands that says it."""
    admin, ada = await server.admin(), await server.member()
    await write(server, 3)
    async with server.feed(ada) as stream:
        await stream.expect("hello")
        await promote(server, admin, ada)
        assert (await closing(stream))["reason"] == "rights_changed"
        place = stream.last_id
    assert place is not None
    ada = await server.log_in(ada.username)
    head = str(server.app[SERVICES].hub.head)

    async with server.feed(ada, headers={"Last-Event-ID": place}) as stream:
        assert (await stream.expect("hello")).id is None
        reset = await stream.expect("reset")
        assert (reset.id, reset.data) == (head, {"reason": "rights", "position": head, "resync": "/v1/users"})
    async with connect(server, ada) as client:
        subscribed = await client.ask("subscribe", after=place)
        reset = await client.expect("reset")
        assert (reset["reason"], reset["position"], reset["feed"]) == ("rights", head, True)
        assert subscribed["position"] == head
    page = await server.json("GET", f"/v1/events?after={place}", ada)
    assert [event["changed"] for event in page["items"] if event["subject"] == ada.id] == [["role"]]

    # From the position of the reset, and for others, nothing is lost.
    async with server.feed(ada, headers={"Last-Event-ID": head}) as stream:
        assert (await stream.expect("hello")).id == head
        await write(server, 1)
        await stream.expect("user.created")
    async with server.feed(admin, headers={"Last-Event-ID": place}) as stream:
        assert (await stream.expect("hello")).id == place


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/ws"])
async def test_session_that_ends_while_its_stream_opens_ends_the_stream(server: Server, path: str) -> None:
    """Between the look at its credentials and the moment from which endings reach it, nothing falls through."""
    ada = await server.member()
    with mock.patch.object(server.app[SERVICES].authenticator, "revalidate", side_effect=InvalidToken):
        if path == "/v1/feed":
            async with server.feed(ada) as stream:
                assert (await closing(stream))["reason"] == "session_ended"
        else:
            async with connect(server, ada) as client:
                frame, code = await client.closing()
                assert (frame["reason"], code) == ("session_ended", 4401)


async def test_stream_by_token_ends_with_it() -> None:
    """`closing` says `expired`; the stream of the cookie lives as long as the session."""
    async with serve(access_ttl_s=1) as server:
        ada = await server.member()
        ticket = (await server.json("POST", "/v1/auth/ticket", ada))["ticket"]
        async with server.feed(ada) as stream, server.feed(params={"ticket": ticket}) as lasting:
            await stream.expect("hello")
            await lasting.expect("hello")
            ending = await closing(stream)
            again = await server.log_in(ada.username)
            await rename(server, again, "Ada")
            await lasting.expect("user.updated")
    assert ending == {"reason": "expired", "reconnect_after_ms": None}


async def test_stream_too_many_is_answered_and_ended() -> None:
    """EventSource gives up for ever on a 429: it receives a reconnect time in a 200."""
    async with serve(max_connections_per_user=2) as server:
        ada, bob = await server.member(), await server.member()
        async with server.feed(ada) as first, server.feed(ada) as second:
            await first.expect("hello")
            await second.expect("hello")
            async with server.feed(ada) as third, server.feed(bob) as other:
                assert (await third.next()).event == "hello"
                ending = await closing(third)
                await other.expect("hello")
        assert ending["reason"] == "too_many_connections"
        assert ending["reconnect_after_ms"] >= 250
        await until(lambda: len(connections(server)) == 0)
        async with server.feed(ada) as stream:
            await stream.expect("hello")
            await rename(server, ada, "Ada")
            await stream.expect("user.updated")


async def test_stopping_service_says_when_to_come_back() -> None:
    """Every stream receives `restart`, spread over time, and ends cleanly; the service does not wait for them longer."""
    async with serve() as server, AsyncExitStack() as streams:
        ada = await server.member()
        opened = [await streams.enter_async_context(server.feed(ada)) for _ in range(20)]
        for stream in opened:
            await stream.expect("hello")
        drain = asyncio.create_task(connections(server).drain(0, 5))
        endings = [await closing(stream) for stream in opened]
        await asyncio.wait_for(drain, 1)
        async with server.feed(ada) as late:
            assert (await closing(late))["reason"] == "restart"
    assert {ending["reason"] for ending in endings} == {"restart"}
    assert len({ending["reconnect_after_ms"] for ending in endings}) > 10


async def test_failing_store_ends_the_stream_with_a_word(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silence, and never a second status line in the middle of a stream; nor is one begun that would be silent."""
    monkeypatch.setattr("service.realtime.hub.MOST_SILENT_S", 0.2)
    ada = await server.member()
    async with server.feed(ada) as stream:
        await stream.expect("hello")
        with mock.patch.object(server.app[SERVICES].store.events, "list_page", side_effect=OSError("the disk is gone")):
            ending = await closing(stream)
            async with server.feed(ada, params={"after": "0"}) as begun:
                assert (await closing(begun))["reason"] == "feed_failed"
            async with server.feed(ada) as begun:
                assert (await closing(begun))["reason"] == "feed_failed"
            async with connect(server, ada) as client:
                assert (await client.closing())[1] == 1013
    assert ending["reason"] == "feed_failed"
    assert ending["reconnect_after_ms"] >= 250
    await until(lambda: server.app[SERVICES].hub.is_current)
    async with server.feed(ada, params={"after": "0"}) as stream:
        await stream.expect("hello")
        await stream.expect("user.created")


async def test_client_that_leaves_is_forgotten_at_once(server: Server) -> None:
    """Not at the next ping: its task, its place in the log and its entry in the registry go with it."""
    ada = await server.member()
    for after in ({}, {"after": "0"}):
        async with server.feed(ada, params=after) as stream:
            await stream.expect("hello")
            assert len(connections(server)) == 1
            stream.response.close()
            await until(lambda: len(connections(server)) == 0)
    assert list(server.app[SERVICES].hub.live_readers()) == []


# --- Order, density and slow peers ------------------------------------------------------------------------------------


@pytest.mark.drawn
async def test_feeds_that_open_during_writes_see_exactly_what_lies_behind_their_place() -> None:
    """Readers attach at random places while hundreds of events are committed: no gap, no repeat."""
    total, chance = repetitions(500, 200), random.Random(1)
    async with serve() as server:
        admin = await server.admin()

        async def read() -> None:
            start = chance.randint(0, server.app[SERVICES].hub.ring.head)
            async with server.feed(admin, params={"after": f"{epoch(server)}-{start}"}) as stream:
                assert await ids(stream, total) == list(range(start, total + 1))

        readers = []
        for number in range(total - 1):
            await keep(server.app[SERVICES].store, a_user())
            if not number % 5:
                readers.append(asyncio.create_task(read()))
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
        await asyncio.gather(*readers)
        assert len(readers) == total // 5


async def fill(server: Server, count: int = 1) -> list[Connection]:
    """Write until so many sockets are full; whose they are."""
    for _ in range(200):
        await write(server, 100)
        full = [connection for connection in connections(server) if connection.is_full]
        if len(full) >= count:
            return full
    raise AssertionError("no socket became full")


async def test_many_readers_see_a_burst_in_order_beside_stalled_ones() -> None:
    """Twenty readers get everything in order, at once, while others beside them do not read at all."""
    async with serve(send_buffer=16_384) as server, AsyncExitStack() as open_streams:
        admin, ada = await server.admin(), await server.member()
        for _ in range(3):
            await open_streams.enter_async_context(stalled(server, admin))
        await fill(server, 3)
        streams = [await open_streams.enter_async_context(server.feed(admin)) for _ in range(20)]
        (start,) = {seq_of((await stream.expect("hello")).data["position"]) for stream in streams}
        writer = asyncio.create_task(write(server, 300))
        for seen in await asyncio.gather(*(take(stream, 300) for stream in streams)):
            assert seqs(seen) == list(range(start + 1, start + 301))
        await writer

        began = time.monotonic()
        await rename(server, ada, "Ada")
        assert [frame.data["subject"] for stream in streams for frame in await take(stream, 1)] == [ada.id] * 20
        assert time.monotonic() - began < 1 + BUSY_S
        assert len([connection for connection in connections(server) if connection.is_full]) == 3


async def test_stalled_reader_is_ended_and_its_memory_given_back(caplog: pytest.LogCaptureFixture) -> None:
    """After `slow_client_timeout_s` without progress it is closed, five seconds later torn down; the log names it."""
    caplog.set_level("INFO", "roster.streams")
    async with serve(send_buffer=16_384, slow_client_timeout_s=0.3) as server:
        admin = await server.admin()
        async with stalled(server, admin):
            (connection,) = await fill(server)
            await write(server, 2000)
            # What it does not read lies in the log and not in its buffer.
            assert connection.buffered_bytes < 300_000
            await until(lambda: connection.ending, timeout=2 + BUSY_S)
            assert connection.ending is not None
            assert connection.ending.reason == "too_slow"
            connections(server).check(time.monotonic() + 0.1, time.time())
            connections(server).check(time.monotonic() + 6, time.time())  # five seconds later, without waiting for them
            await until(lambda: len(connections(server)) == 0)
            assert connection._transport.is_closing()
        assert list(server.app[SERVICES].hub.live_readers()) == []
    slow = next(record for record in caplog.records if record.message == "client reads too slowly; closing the stream")
    assert vars(slow)["user"] == admin.id
    assert vars(slow)["buffered_bytes"] >= 65_536


async def test_reader_that_is_late_reads_on_from_its_place() -> None:
    """A reader that stalled and reads again in time has missed nothing."""
    async with serve(send_buffer=16_384) as server:
        admin = await server.admin()
        async with stalled(server, admin, "/v1/feed?after=0&limit=10000") as peer:
            await fill(server)
            total = server.app[SERVICES].hub.ring.head
            await write(server, 10_000 - total)
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            answer = await peer.answer(20)
        ids = [int(line.rpartition(b"-")[2]) for line in answer.body.split(b"\n") if line.startswith(b"id: ")]
        assert ids == list(range(10_001))
        assert b"event: reset" not in answer.body


async def test_lagging_reader_is_reset_after_a_trim_and_goes_on() -> None:
    """Trimmed events are reported by `reset trimmed` in the stream, with the position from which it continues."""
    async with serve(send_buffer=16_384, event_retention_count=300) as server:
        admin, ada = await server.admin(), await server.member()
        async with stalled(server, ada) as peer:
            ring = server.app[SERVICES].hub.ring
            (connection,) = connections(server)
            while not connection.is_full:
                await rename(server, ada, f"{'x' * 80}{ring.head}")
            for number in range(10):
                await rename(server, ada, f"later {number}")
            await write(server, 900)  # nearer by, what the store has not is still in the ring
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            await until(lambda: all(reader.live for reader in connection.readers))
            await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=204)
            answer = await peer.answer(20)
    blocks = [dict(line.split(b": ", 1) for line in block.split(b"\n")) for block in answer.body.split(b"\n\n")[:-1]]
    events = [block.get(b"event") for block in blocks]
    reset = events.index(b"reset")
    told = json.loads(blocks[reset][b"data"])
    assert events[0] == b"hello"
    assert set(events[1:reset]) == {b"user.updated"}
    assert events[reset + 1 :] == [b"session.ended", b"user.deleted", b"closing"] or events[reset + 1 :] == [
        b"session.ended",
        b"closing",
    ]
    assert (told["reason"], told["resync"]) == ("trimmed", "/v1/users/me")
    assert blocks[reset][b"id"].decode() == told["position"]
    versions = [int(block[b"id"].rpartition(b"-")[2]) for block in blocks[:reset]]
    assert versions == list(range(versions[0], versions[0] + reset))


async def test_fattest_buffer_goes_when_all_together_are_too_much() -> None:
    """The memory of all buffers is bounded: the fullest is torn down, the others stay."""
    async with serve(send_buffer=16_384, send_buffer_total_bytes=100_000, sse_keepalive_s=0.05) as server:
        admin, ada = await server.admin(), await server.member()
        async with server.feed(ada) as quiet, stalled(server, admin), stalled(server, admin):
            await quiet.expect("hello")
            await until(lambda: len(connections(server)) == 3)
            for _ in range(200):
                await write(server, 100)
                if len(connections(server)) < 3:
                    break
            await until(lambda: len(connections(server)) == 2)
            await until(lambda: sum(connection.buffered_bytes for connection in connections(server)) <= 100_000)
            await rename(server, ada, "Ada")
            await quiet.expect("user.updated")


async def test_stopping_service_tears_down_who_does_not_read() -> None:
    """Its exit is bounded: a peer that reads nothing gets no `closing`, and costs no more than the time allowed."""
    async with AsyncExitStack() as peers:
        async with serve(send_buffer=16_384, shutdown_timeout_s=0.3) as server:
            admin = await server.admin()
            for _ in range(2):
                await peers.enter_async_context(stalled(server, admin))
            full = await fill(server, 2)
            began = time.monotonic()
        assert time.monotonic() - began < 2 + BUSY_S
    assert all(connection._transport.is_closing() for connection in full)
