"""Rooms without a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.http.services import SERVICES
from tests.support.server import Login, Server, serve
from tests.support.sse import open_stream
from tests.support.wait import until
from tests.support.ws import connect

RULES = json.dumps({"news.*": {"send": "admin"}, "quiet.*": {"members": "admin"}, "admin.*": {"read": "admin"}})


async def say(server: Server, by: Login, room: str, *texts: object) -> list[Any]:
    """Send to a room, one message after the other; returns them as they were answered."""
    return [
        await server.json("POST", f"/v1/rooms/{room}/messages", by, json={"data": text}, status=201) for text in texts
    ]


# --- Messages ---------------------------------------------------------------------------------------------------------


async def test_message_sent_over_http_is_the_frame_that_members_get(server: Server) -> None:
    """The response, the members' frames, the feed and the history contain the same message."""
    ada, bob = await server.member("ada"), await server.member()
    async with (
        connect(server, bob) as member,
        open_stream(server, "/v1/rooms/lobby/feed", bob) as reader,
    ):
        hello = await reader.expect("hello")
        joined = await member.ask("join", room="lobby")
        assert hello.id == joined["position"]

        (sent,) = await say(server, ada, "lobby", {"text": "hi"})
        assert sent["from"] == {"id": ada.id, "username": "ada"}
        assert (sent["room"], sent["data"]) == ("lobby", {"text": "hi"})
        assert await member.until("message") == sent
        told = await reader.expect("message")
        assert (told.data, told.id) == (sent, sent["id"])
    page = await server.json("GET", "/v1/rooms/lobby/messages", bob)
    assert page == {"items": [sent], "next": None, "position": sent["id"]}


async def test_who_sends_need_not_be_in_the_room(server: Server) -> None:
    """The room begins with the first message, keeps it, and has no member."""
    ada = await server.member()
    (sent,) = await say(server, ada, "notes", 1)

    rooms = await server.json("GET", "/v1/rooms", ada)
    assert rooms == {"items": [{"room": "notes", "position": sent["id"], "count": 0}], "next": None}
    assert await server.json("GET", "/v1/rooms/notes/members", ada) == {"items": [], "next": None}


async def test_history_is_read_in_pages(server: Server) -> None:
    """Pages follow each other without gap or repeat, and the last one names where the feed goes on."""
    ada = await server.member()
    sent = await say(server, ada, "lobby", *range(5))

    page = await server.json("GET", "/v1/rooms/lobby/messages?limit=2", ada)
    found = page["items"]
    while page["next"]:
        page = await server.json("GET", f"/v1/rooms/lobby/messages?limit=2&after={page['next']}", ada)
        found += page["items"]
    assert found == sent
    assert page["position"] == sent[-1]["id"]
    empty = await server.json("GET", f"/v1/rooms/lobby/messages?after={sent[-1]['id']}", ada)
    assert empty == {"items": [], "next": None, "position": sent[-1]["id"]}


@pytest.mark.parametrize("place", ["trimmed", "epoch", "ahead"])
async def test_lost_place_in_history_answers_410(place: str) -> None:
    """With the reason, where to go on, and what to read again."""
    async with serve(room_history_count=2) as server:
        ada = await server.member()
        sent = await say(server, ada, "lobby", *range(4))
        epoch = sent[0]["id"].split("-")[0]
        after = {"trimmed": f"{epoch}-1", "epoch": "otherone-1", "ahead": f"{epoch}-5"}[place]

        problem = await server.json("GET", f"/v1/rooms/lobby/messages?after={after}", ada, status=410)
        assert (problem["reason"], problem["position"]) == (place, sent[-1]["id"])
        assert problem["resync"] == "/v1/rooms/lobby/messages"
        assert [message["data"] for message in (await server.json("GET", problem["resync"], ada))["items"]] == [2, 3]


async def test_message_is_no_larger_than_on_a_websocket() -> None:
    """413 over the bound, with the bound in words; nothing is sent."""
    async with serve(ws_max_message_bytes=1000) as server:
        ada = await server.member()
        fits = "x" * (1000 - len(json.dumps({"data": ""})))
        await say(server, ada, "lobby", fits)
        problem = await server.json("POST", "/v1/rooms/lobby/messages", ada, json={"data": fits + "x"}, status=413)
        assert "1,000 bytes" in problem["detail"]
        assert len((await server.json("GET", "/v1/rooms/lobby/messages", ada))["items"]) == 1


@pytest.mark.parametrize("body", [{}, {"data": 1, "x": 1}, [], "x"])
async def test_body_that_breaks_the_rules_is_refused(server: Server, body: object) -> None:
    """`data` and nothing else; the room does not begin to be."""
    ada = await server.member()
    await server.json("POST", "/v1/rooms/lobby/messages", ada, json=body, status=422)
    assert await server.json("GET", "/v1/rooms", ada) == {"items": [], "next": None}


@pytest.mark.parametrize("path", ["members", "messages"])
@pytest.mark.parametrize("room", ["absent", "Upper", "a%20b", ".dot", "a" * 65, "%D9%A3"])
async def test_room_that_is_not_there_or_cannot_be_answers_404(server: Server, path: str, room: str) -> None:
    """An unused room, and one with an invalid name."""
    ada = await server.member()
    problem = await server.json("GET", f"/v1/rooms/{room}/{path}", ada, status=404)
    assert problem["type"] == "/problems/not-found"


# --- Lists ------------------------------------------------------------------------------------------------------------


async def test_rooms_are_listed_by_name_in_pages(server: Server) -> None:
    """Every room once, whatever comes and goes between the pages."""
    ada = await server.member()
    names = [f"room{number}" for number in range(5)]
    for name in reversed(names):
        await say(server, ada, name, 1)

    first = await server.json("GET", "/v1/rooms?limit=2", ada)
    assert ([room["room"] for room in first["items"]], first["next"]) == (names[:2], "room1")
    await say(server, ada, "room0a", 1)
    rest = await server.json("GET", f"/v1/rooms?limit=10&cursor={first['next']}", ada)
    assert ([room["room"] for room in rest["items"]], rest["next"]) == (names[2:], None)


async def test_members_are_users_with_a_websocket_in_the_room(server: Server) -> None:
    """A user with two tabs stands there once; a reader of the feed does not."""
    ada, bob = await server.member("ada"), await server.member("bob")
    async with (
        connect(server, ada) as one,
        connect(server, ada) as two,
        open_stream(server, "/v1/rooms/lobby/feed", bob) as reader,
    ):
        await reader.expect("hello")
        for client in (one, two):
            await client.ask("join", room="lobby")
        page = await server.json("GET", "/v1/rooms/lobby/members", bob)
        assert [(member["id"], member["username"]) for member in page["items"]] == [(ada.id, "ada")]
        assert (await server.json("GET", "/v1/rooms", bob))["items"][0]["count"] == 1
        assert await server.json("GET", f"/v1/rooms/lobby/members?cursor={ada.id}", bob) == {"items": [], "next": None}


# --- The feed of a room -----------------------------------------------------------------------------------------------


async def test_reader_goes_on_where_it_was(server: Server) -> None:
    """`Last-Event-ID` and `after` bring what was missed, then what comes; `0` begins with the oldest kept."""
    ada = await server.member()
    sent = await say(server, ada, "lobby", *range(3))
    path = "/v1/rooms/lobby/feed"
    headers = {"Last-Event-ID": sent[0]["id"]}
    async with (
        open_stream(server, path, ada, headers=headers) as by_header,
        open_stream(server, f"{path}?after={sent[0]['id']}", ada) as by_query,
        open_stream(server, f"{path}?after=0", ada) as oldest,
    ):
        for stream, missed in ((by_header, sent[1:]), (by_query, sent[1:]), (oldest, sent)):
            await stream.expect("hello")
            assert [(await stream.expect("message")).data for _ in missed] == missed
        (live,) = await say(server, ada, "lobby", "live")
        for stream in (by_header, by_query, oldest):
            assert (await stream.expect("message")).data == live


@pytest.mark.parametrize("reason", ["trimmed", "epoch", "ahead", "invalid"])
async def test_lost_position_resets_the_feed_of_a_room(reason: str) -> None:
    """`hello` without an id, then `reset` with one and the history to read again; then what comes."""
    async with serve(room_history_count=1) as server:
        ada = await server.member()
        sent = await say(server, ada, "lobby", *range(3))
        epoch, head = sent[-1]["id"].split("-")[0], sent[-1]["id"]
        place = {"trimmed": f"{epoch}-1", "epoch": "otherone-1", "ahead": f"{epoch}-9", "invalid": "?"}[reason]
        async with open_stream(server, "/v1/rooms/lobby/feed", ada, headers={"Last-Event-ID": place}) as stream:
            assert (await stream.expect("hello")).id is None
            reset = await stream.expect("reset")
            assert reset.id == head
            assert reset.data == {"reason": reason, "position": head, "resync": "/v1/rooms/lobby/messages"}
            (live,) = await say(server, ada, "lobby", "live")
            assert (await stream.expect("message")).data == live


async def test_ping_of_a_room_moves_the_place_on() -> None:
    """A `ping` carries the position, so that a reader of a room resumes from where it was."""
    async with serve(sse_keepalive_s=0.05) as server:
        ada = await server.member()
        async with open_stream(server, "/v1/rooms/lobby/feed", ada) as stream:
            hello = await stream.frame()
            ping = await stream.frame()
            assert hello is not None
            assert ping is not None
            assert (ping.event, ping.data, ping.id) == ("ping", {"position": hello.id}, hello.id)


async def test_room_lives_while_its_feed_has_a_reader() -> None:
    """Neither the last member nor the end of its history takes a room from under a reader; the reader's end does."""
    async with serve(room_history_count=0, presence_grace_s=0) as server:
        ada = await server.member()
        rooms = server.app[SERVICES].rooms
        async with open_stream(server, "/v1/rooms/lobby/feed", ada) as stream:
            await stream.expect("hello")
            async with connect(server, ada) as client:
                await client.ask("join", room="lobby")
            await until(lambda: (room := rooms.held.get("lobby")) is not None and not room.count)
            rooms.sweep()
            (sent,) = await say(server, ada, "lobby", 1)
            assert (await stream.expect("message")).data == sent
        await until(lambda: not len(rooms))


async def test_stream_of_a_room_ends_after_its_limit(server: Server) -> None:
    """So many messages, then `closing` and the end."""
    ada = await server.member()
    sent = await say(server, ada, "lobby", 1, 2, 3)
    async with open_stream(server, "/v1/rooms/lobby/feed?after=0&limit=2", ada) as stream:
        await stream.expect("hello")
        assert [(await stream.expect("message")).data for _ in range(2)] == sent[:2]
        assert (await stream.expect("closing")).data["reason"] == "limit"
        assert await stream.next() is None


async def test_stream_of_a_room_ends_with_the_session(server: Server) -> None:
    """As every stream."""
    ada = await server.member()
    async with open_stream(server, "/v1/rooms/lobby/feed", ada) as stream:
        await stream.expect("hello")
        async with server.request("POST", "/v1/auth/logout", ada) as answer:
            assert answer.status == 204
        assert (await stream.expect("closing", 1.5)).data["reason"] == "session_ended"


async def test_many_readers_of_a_room_see_one_order(server: Server) -> None:
    """Over SSE and WebSocket, while three send at once."""
    ada = await server.member()
    async with (
        connect(server, ada) as client,
        open_stream(server, "/v1/rooms/lobby/feed", ada) as one,
        open_stream(server, "/v1/rooms/lobby/feed", ada) as two,
    ):
        await client.ask("join", room="lobby")
        for stream in (one, two):
            await stream.expect("hello")
        await asyncio.gather(*(say(server, ada, "lobby", *range(20)) for _ in range(3)))
        seen = [(await client.until("message"))["id"] for _ in range(60)]
        assert [int(position.split("-")[1]) for position in seen] == list(range(1, 61))
        for stream in (one, two):
            assert [(await stream.expect("message")).id for _ in range(60)] == seen


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_room_that_one_may_not_read_is_not_there() -> None:
    """Not in the list, and every path answers as for an absent one; an administrator finds it."""
    async with serve(room_rules=json.loads(RULES)) as server:
        ada, admin = await server.member(), await server.admin()
        await say(server, admin, "admin.ops", 1)
        await say(server, admin, "lobby", 1)

        assert [room["room"] for room in (await server.json("GET", "/v1/rooms", ada))["items"]] == ["lobby"]
        assert len((await server.json("GET", "/v1/rooms", admin))["items"]) == 2
        for path in ("members", "messages", "feed"):
            hidden = await server.json("GET", f"/v1/rooms/admin.ops/{path}", ada, status=404)
            assert hidden["title"] == "Not found, or not visible to this account"
        await server.json("POST", "/v1/rooms/admin.ops/messages", ada, json={"data": 1}, status=404)
        async with connect(server, ada) as client:
            for command in ("join", "members"):
                assert (await client.ask(command, room="admin.ops"))["code"] == "not_found"


async def test_room_that_one_may_only_read() -> None:
    """To send is forbidden, over HTTP and WebSocket; an administrator's message arrives."""
    async with serve(room_rules=json.loads(RULES)) as server:
        ada, admin = await server.member(), await server.admin()
        async with connect(server, ada) as client:
            assert (await client.ask("join", room="news.today"))["type"] == "joined"
            refused = await client.ask("broadcast", room="news.today", data=1)
            assert (refused["type"], refused["code"]) == ("error", "forbidden")
            await server.json("POST", "/v1/rooms/news.today/messages", ada, json={"data": 1}, status=403)
            (sent,) = await say(server, admin, "news.today", 1)
            assert await client.until("message") == sent


async def test_room_whose_members_one_may_not_see() -> None:
    """Neither `members` nor presence tells who is there; messages do come."""
    async with serve(room_rules=json.loads(RULES), presence_batch_s=0.01) as server:
        ada, admin = await server.member(), await server.admin()
        async with connect(server, ada) as client, connect(server, admin) as watcher:
            await client.ask("join", room="quiet.place")
            await watcher.ask("join", room="quiet.place")
            told = await watcher.until("presence")
            assert told["count"] == 2
            assert (await client.ask("members", room="quiet.place"))["code"] == "forbidden"
            await server.json("GET", "/v1/rooms/quiet.place/members", ada, status=403)
            await say(server, admin, "quiet.place", 1)
            assert (await client.expect("message"))["data"] == 1
