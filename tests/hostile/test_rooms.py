"""Rooms over HTTP: names that are none, bodies at the edge, places from elsewhere, and readers that ask for too much."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from service.domain.rooms.rules import ROOM_NAME
from service.http.services import SERVICES
from service.realtime.connection import Connection
from service.realtime.subscribers import FULL_BYTES
from tests.support.frames import TEXT, frame
from tests.support.hostile import assert_serves, exchange, message
from tests.support.peer import raw_peer
from tests.support.server import Login, Server, serve
from tests.support.sse import open_stream
from tests.support.wait import until
from tests.support.ws import connect

MOST = 65_536
ROOM = "/v1/rooms/lobby"
PATHS = [f"{ROOM}/messages", f"{ROOM}/members", f"{ROOM}/feed"]


def bearer(by: Login) -> str:
    return f"Authorization: Bearer {by.access_token}"


async def say(server: Server, by: Login, room: str, data: object) -> str:
    """Send to a room; returns the position of the message."""
    path = f"/v1/rooms/{room}/messages"
    return str((await server.json("POST", path, by, json={"data": data}, status=201))["id"])


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["messages", "members", "feed"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("lobby%0A", id="newline after"),
        pytest.param("lobby%00", id="NUL after"),
        pytest.param("lobby%20", id="space after"),
        pytest.param("%20lobby", id="space before"),
        pytest.param("lobby;x", id="semicolon"),
        pytest.param("lobby%3Bx", id="encoded semicolon"),
        pytest.param("lobby%2Fx", id="encoded slash"),
        pytest.param("lobby%5Cx", id="encoded backslash"),
        pytest.param("lobby%252Fx", id="slash encoded twice"),
        pytest.param("..", id="parent"),
        pytest.param("%2E%2E", id="encoded parent"),
        pytest.param("Lobby", id="upper case"),
        pytest.param("%C5%BFobby", id="long s, lower case of S to some"),
        pytest.param("%E2%84%AAing", id="sign of the kelvin, k to some"),
        pytest.param("lobby%FF", id="no UTF-8"),
        pytest.param("lobby%ED%A0%80", id="surrogate in UTF-8"),
        pytest.param("%D9%A3", id="digit of another script"),
        pytest.param("a" * 65, id="65 letters"),
        pytest.param("*", id="pattern"),
    ],
)
async def test_name_that_is_none_is_not_found(target: Server, ada: Login, path: str, name: str) -> None:
    """The same 404 as for a room that is not there, and no room begins to be."""
    outcome = await exchange(target, message("GET", f"/v1/rooms/{name}/{path}", bearer(ada)))
    assert outcome.status == 404
    assert all(re.fullmatch(ROOM_NAME, made) for made in target.app[SERVICES].rooms.held)
    await assert_serves(target)


async def test_encoded_letter_is_the_letter(target: Server, ada: Login) -> None:
    """`%6Cobby` is `lobby`: two spellings of one address are one room."""
    sent = await say(target, ada, "lobby", "here")
    outcome = await exchange(target, message("GET", "/v1/rooms/%6Cobby/messages?limit=100", bearer(ada)))
    assert outcome.answer is not None
    assert json.loads(outcome.answer.body)["position"] == sent


# --- Methods and queries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/rooms", *PATHS])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_method_that_is_not_there_answers_405(target: Server, path: str, method: str) -> None:
    """With and without a token, naming those that are."""
    outcome = await exchange(target, message(method, path))
    assert outcome.answer is not None
    assert outcome.status == 405
    assert "GET" in outcome.answer.headers["allow"]
    assert outcome.goes_on


@pytest.mark.parametrize(
    ("path", "query"),
    [
        *(
            (path, query)
            for path in ("/v1/rooms", *PATHS)
            for query in ("limit=0", "limit=x", "other=1", "limit=1&limit=2")
        ),
        *((path, query) for path in ("/v1/rooms", *PATHS[:2]) for query in ("limit=101", "limit=-1", "limit=1_0")),
        (f"{ROOM}/feed", "limit=10001"),
        *(
            (path, f"after={after}")
            for path in (f"{ROOM}/messages", f"{ROOM}/feed")
            for after in ("", "1", "x", "x-", "x-01", "x--1", "x-1%0A", "X-1", f"x-{10**18}", f"{'x' * 33}-1", "%FF")
        ),
        *((f"{ROOM}/members", f"cursor={cursor}") for cursor in ("", "x", "0", "%FF", "f" * 31)),
        *(("/v1/rooms", f"cursor={cursor}") for cursor in ("", "-", "A", "a%0A", "%FF", "a" * 65)),
    ],
)
async def test_query_that_is_not_understood_answers_400(target: Server, ada: Login, path: str, query: str) -> None:
    """The feed too: who comes with it would come with it for ever."""
    outcome = await exchange(target, message("GET", f"{path}?{query}", bearer(ada)))
    assert outcome.status == 400
    assert outcome.goes_on


@pytest.mark.parametrize("cursor", ["0" * 32, "f" * 32, "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])
async def test_cursor_is_a_position_and_not_a_member(target: Server, ada: Login, cursor: str) -> None:
    """An unknown id is a place between the others."""
    await say(target, ada, "lobby", 1)
    page = await target.json("GET", f"{ROOM}/members?cursor={cursor}", ada)
    assert page == {"items": [], "next": None}


@pytest.mark.parametrize("path", PATHS)
async def test_page_of_another_origin_reads_refusals_too(target: Server, path: str) -> None:
    """CORS stands on what an origin may read, a 401 included."""
    async with target.request("GET", path, headers={"Origin": "https://app.example.com"}) as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


# --- Places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        pytest.param("\xff", "invalid", id="no UTF-8"),
        pytest.param("a" * 5_000, "invalid", id="5,000 letters"),
        pytest.param("0", "invalid", id="zero alone"),
        pytest.param("{epoch}-01", "invalid", id="leading zero"),
        pytest.param("{epoch}--1", "invalid", id="negative"),
        pytest.param("{epoch}-" + "9" * 19, "invalid", id="more than 64 bits hold"),
        pytest.param("{epoch}-" + "9" * 18, "ahead", id="10^18"),
        pytest.param("{elsewhere}", "epoch", id="of another room"),
        pytest.param("{feed}", "epoch", id="of the feed of accounts"),
    ],
)
async def test_invalid_position_is_reported(target: Server, ada: Login, version: str, place: str, reason: str) -> None:
    """`Last-Event-ID` is never a reason to refuse a reader: the stream reports the reset, and continues."""
    here, elsewhere = await say(target, ada, "lobby", 1), await say(target, ada, "elsewhere", 1)
    place = place.replace("{epoch}", here.split("-")[0]).replace("{elsewhere}", elsewhere)
    place = place.replace("{feed}", str(target.app[SERVICES].hub.head))
    async with raw_peer(target.port) as peer:
        headers = (bearer(ada), f"Last-Event-ID: {place}")
        await peer.send(message("GET", f"{ROOM}/feed", *headers, version=version))
        async with asyncio.timeout(5):
            told = await peer.reader.readuntil(b"event: reset\n")
            data = json.loads((await peer.reader.readuntil(b"\n\n")).removeprefix(b"data: "))
            assert told.startswith(f"{version} 200".encode())
            assert data == {"reason": reason, "position": here, "resync": f"{ROOM}/messages"}
            sent = await say(target, ada, "lobby", "live")
            assert f"id: {sent}\n".encode() in await peer.reader.readuntil(b'"live"}')


async def test_place_in_another_room_is_lost_in_history(target: Server, ada: Login) -> None:
    """`after` of one room answers 410 in another, whatever its number."""
    await say(target, ada, "lobby", 1)
    elsewhere = await say(target, ada, "elsewhere", 1)
    problem = await target.json("GET", f"{ROOM}/messages?after={elsewhere}", ada, status=410)
    assert problem["reason"] == "epoch"


async def test_limit_is_kept_to_while_many_write() -> None:
    """A request for a number of messages gets that many, from the first one on, of a room that is always busy."""
    async with serve(ws_messages_per_s=0) as server, AsyncExitStack() as stack:
        ada = await server.member()
        writer = await stack.enter_async_context(connect(server, ada))
        await writer.ask("join", room="lobby")
        limits = (1, 2, 7, 50, 333)
        streams = [
            await stack.enter_async_context(open_stream(server, f"{ROOM}/feed?limit={limit}", ada)) for limit in limits
        ]
        for stream in streams:
            await stream.expect("hello")
        for number in range(400):
            await writer.send("broadcast", room="lobby", data=number)
        for limit, stream in zip(limits, streams, strict=True):
            assert [(await stream.expect("message")).data["data"] for _ in range(limit)] == list(range(limit))
            assert (await stream.expect("closing")).data["reason"] == "limit"
            assert await stream.next() is None


# --- Bodies -----------------------------------------------------------------------------------------------------------


def _plain(body: bytes) -> tuple[list[str], bytes]:
    return [f"Content-Length: {len(body)}"], body


def _chunked(body: bytes) -> tuple[list[str], bytes]:
    pieces = [body[start : start + 1_000] for start in range(0, len(body), 1_000)]
    return ["Transfer-Encoding: chunked"], b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def _gzipped(body: bytes) -> tuple[list[str], bytes]:
    packed = gzip.compress(body)
    return ["Content-Encoding: gzip", f"Content-Length: {len(packed)}"], packed


@pytest.mark.parametrize("how", [_plain, _chunked, _gzipped])
@pytest.mark.parametrize(("size", "status"), [(MOST, 201), (MOST + 1, 413), (4 * MOST, 413), (4 * MOST + 1, 413)])
async def test_size_of_a_message_is_bounded_to_the_byte(
    target: Server, ada: Login, how: Callable[[bytes], tuple[list[str], bytes]], size: int, status: int
) -> None:
    """However its bytes come, those that count are the ones inside."""
    body = b'{"data":"%b"}' % (b"x" * (size - len('{"data":""}')))
    headers, data = how(body)
    request = message("POST", f"{ROOM}/messages", bearer(ada), "Content-Type: application/json", *headers, body=data)
    assert (await exchange(target, request)).status == status
    await assert_serves(target)


# --- Too much ---------------------------------------------------------------------------------------------------------


async def test_page_of_history_is_bounded_in_bytes(target: Server, ada: Login) -> None:
    """A hundred messages of 64 KB come in many small pages, without gap or duplicate: an unread response stays small."""
    sent = [await say(target, ada, "large", "x" * 65_000) for _ in range(70)]
    found: list[str] = []
    after = "0"
    while after is not None:
        async with target.request("GET", f"/v1/rooms/large/messages?limit=100&after={after}", ada) as answer:
            body = await answer.read()
        assert len(body) < 4 * MOST
        page = json.loads(body)
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert found == sent[-len(found) :]
    assert len(found) > 50


async def test_socket_that_is_full_is_full_in_every_room() -> None:
    """A member of 64 rooms that does not read costs its socket's buffer once, not once a room."""
    async with serve(send_buffer=8_192) as server, raw_peer(server.port, receive_buffer=4_096, limit=4_096) as peer:
        ada, bob = await server.member(), await server.member()
        names = [f"room{number}" for number in range(64)]
        await peer.upgrade("/v1/ws", bearer(ada))
        for name in names:
            await peer.send(frame(TEXT, json.dumps({"type": "join", "room": name})))
        (stalled,) = await _connections(server, 1)
        await until(lambda: sum(reader.live for reader in stalled.readers) == 64)
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(connect(server, bob))
            for name in names:
                await writer.ask("join", room=name)
                await writer.ask("broadcast", room=name, data="x" * 60_000)
                assert stalled.buffered_bytes < 3 * FULL_BYTES
        assert not any(reader.live for reader in stalled.readers)


async def test_connection_lost_in_64_rooms_leaves_all() -> None:
    """A reset without a word is a leave of every room, and rooms without history go with it."""
    async with serve(presence_grace_s=0) as server:
        ada = await server.member()
        async with raw_peer(server.port) as peer:
            await peer.upgrade("/v1/ws", bearer(ada))
            for number in range(64):
                await peer.send(frame(TEXT, json.dumps({"type": "join", "room": f"room{number}"})))
            await until(lambda: len(server.app[SERVICES].rooms) == 64)
            peer.writer.transport.abort()
            await until(lambda: not len(server.app[SERVICES].rooms))
        await assert_serves(server)


async def _connections(server: Server, count: int) -> list[Connection]:
    connections = server.app[SERVICES].connections
    await until(lambda: len(connections) == count)
    return list(connections)
