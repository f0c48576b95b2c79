"""Frames that break the protocol (RFC 6455), and frames that keep it and ask for too much."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.http.services import SERVICES
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Received,
    close,
    frame,
    head,
    receive,
)
from tests.support.hostile import assert_serves
from tests.support.peer import RawPeer, raw_peer
from tests.support.places import KINDS
from tests.support.server import Login, Server, serve
from tests.support.wait import BUSY_S, until

MOST = 65_536


@asynccontextmanager
async def connected(server: Server, path: str, by: Login) -> AsyncIterator[RawPeer]:
    """A bare socket after the handshake, and on `/v1/ws` after `hello`."""
    async with raw_peer(server.port) as peer:
        answer = await peer.upgrade(path, f"Authorization: Bearer {by.access_token}")
        assert answer.status == 101
        if path == "/v1/ws":
            assert (await receive(peer)).json["type"] == "hello"
        yield peer


async def say(peer: RawPeer, **members: Any) -> None:
    await peer.send(frame(TEXT, json.dumps(members)))


async def ask(peer: RawPeer, **members: Any) -> Any:
    """Send a frame and wait for the one that answers it."""
    await say(peer, **members)
    return (await receive(peer)).json


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
@pytest.mark.parametrize(
    ("code", "data"),
    [
        pytest.param(1002, frame(TEXT, "a", rsv=4), id="RSV1 without an extension"),
        pytest.param(1002, frame(TEXT, "a", rsv=2), id="RSV2"),
        pytest.param(1002, frame(TEXT, "a", rsv=1), id="RSV3"),
        pytest.param(1002, frame(0x3, "a"), id="opcode 3"),
        pytest.param(1002, frame(0xB, "a"), id="opcode 11"),
        pytest.param(1002, frame(PING, b"a" * 126), id="ping of 126 bytes"),
        pytest.param(1002, frame(PING, b"a", fin=False), id="ping in fragments"),
        pytest.param(1002, frame(CONTINUATION, "a"), id="continuation of nothing"),
        pytest.param(1002, frame(TEXT, "a", fin=False) + frame(TEXT, "b"), id="text inside a message"),
        pytest.param(1002, frame(CLOSE, b"\x03"), id="close of one byte"),
        *(
            pytest.param(1002, close(code), id=f"close {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ),
        pytest.param(1007, close(1000, b"\xff"), id="reason that is not UTF-8"),
        pytest.param(1007, frame(TEXT, b"\xff"), id="text that is not UTF-8"),
        pytest.param(1007, frame(TEXT, b"\xed\xa0\x80"), id="surrogate in UTF-8"),
        pytest.param(1007, frame(TEXT, b"\xc0\x80"), id="overlong NUL"),
        pytest.param(1007, frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION), id="letter that breaks off"),
        pytest.param(1009, head(TEXT, MOST + 1), id="one byte too long, announced"),
        pytest.param(1009, head(TEXT, 2**62), id="2^62 bytes, announced"),
        pytest.param(1009, head(BINARY, 2**63), id="2^63 bytes, announced"),
        pytest.param(
            1009, frame(TEXT, b"a" * 40_000, fin=False) + frame(CONTINUATION, b"a" * 40_000), id="too long in fragments"
        ),
        pytest.param(1000, close(1000), id="close 1000"),
        pytest.param(1001, close(1001, b"going"), id="close 1001"),
        pytest.param(3000, close(3000), id="close 3000"),
        pytest.param(4999, close(4999), id="close 4999"),
        pytest.param(1000, frame(CLOSE), id="close without a code"),
        pytest.param(1000, close(1000) + frame(TEXT, "a") + frame(PING), id="frames after a close"),
    ],
)
async def test_close_code(target: Server, ada: Login, path: str, code: int, data: bytes) -> None:
    """What breaks the protocol is answered with its close code and nothing else; a good close with its own."""
    async with connected(target, path, ada) as peer:
        await peer.send(data)
        received = await receive(peer)
        assert received.code == code
        assert await peer.is_closed()
    await assert_serves(target)


async def test_unmasked_frame_is_read(target: Server, ada: Login) -> None:
    """A frame without a mask is echoed, though RFC 6455, 5.1 wants 1002: aiohttp's parser does not look at the bit.

    The mask protects proxies that read frames as requests; the sender decides whether to leave it out.
    """
    async with connected(target, "/v1/echo", ada) as peer:
        await peer.send(frame(TEXT, "bare", mask=False))
        assert (await receive(peer)).payload == b"bare"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_longest_message_comes_back(target: Server, ada: Login, opcode: int) -> None:
    """A message of exactly the limit is echoed, whole or in fragments with a ping between them."""
    async with connected(target, "/v1/echo", ada) as peer:
        await peer.send(frame(opcode, b"a" * MOST))
        assert await receive(peer) == Received(opcode, b"a" * MOST)
        await peer.send(frame(opcode, b"a" * 40_000, fin=False) + frame(PING, b"p"))
        assert await receive(peer) == Received(PONG, b"p")
        await peer.send(frame(CONTINUATION, b"a" * (MOST - 40_000)))
        assert await receive(peer) == Received(opcode, b"a" * MOST)


async def test_empty_fragments_are_one_message(target: Server, ada: Login) -> None:
    """Twenty thousand empty fragments are one empty message, and delay no other client."""
    async with connected(target, "/v1/echo", ada) as peer, connected(target, "/v1/echo", ada) as other:
        await peer.send(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 20_000)
        async with asyncio.timeout(2 + BUSY_S):
            await other.send(frame(TEXT, "hello"))
            assert (await receive(other)).payload == b"hello"
            await peer.send(frame(CONTINUATION))
            assert await receive(peer) == Received(TEXT, b"")


async def test_flood_of_pings_is_answered_and_delays_no_other(target: Server, ada: Login) -> None:
    """Five thousand pings get their pongs; another connection is served meanwhile."""
    async with connected(target, "/v1/echo", ada) as peer, connected(target, "/v1/echo", ada) as other:
        sending = asyncio.create_task(peer.send(frame(PING, b"x") * 5000))
        await other.send(frame(TEXT, "hello"))
        assert (await receive(other)).payload == b"hello"
        pongs = [await receive(peer) for _ in range(5000)]
        await sending

    assert set(pongs) == {Received(PONG, b"x")}
    await assert_serves(target)


@pytest.mark.parametrize(
    ("path", "begin", "flood"),
    [
        pytest.param("/v1/ws", b"", frame(PING), id="pings"),
        pytest.param("/v1/ws", b"", frame(PONG), id="pongs"),
        pytest.param("/v1/ws", frame(TEXT, fin=False), frame(CONTINUATION, fin=False), id="fragments"),
        pytest.param("/v1/echo", b"", frame(PING), id="pings to echo"),
        pytest.param("/v1/echo", b"", frame(TEXT), id="messages to echo"),
        pytest.param("/v1/echo", frame(TEXT, fin=False), frame(CONTINUATION, fin=False), id="fragments to echo"),
    ],
)
async def test_flood_of_frames_delays_no_other(
    target: Server, ada: Login, path: str, begin: bytes, flood: bytes
) -> None:
    """Empty frames by the ten thousand, of which one read brings more than can be looked at in a turn of the loop."""
    tasks = len(asyncio.all_tasks())
    async with connected(target, path, ada) as peer, connected(target, "/v1/echo", ada) as other:

        async def pump() -> None:
            await peer.send(begin)
            while True:
                await peer.send(flood * 10_000)

        async def drink() -> None:
            while await peer.reader.read(65_536):
                pass

        pumping = [asyncio.create_task(pump()), asyncio.create_task(drink())]
        waits: list[float] = []
        while sum(waits) < 0.2:
            asked_at = (
                time.process_time()
            )  # service and flood are this process; what others take is not held against it
            await other.send(frame(TEXT, "hello"))
            assert (await receive(other)).payload == b"hello"
            waits.append(time.process_time() - asked_at)
        for task in pumping:
            task.cancel()
        await asyncio.gather(*pumping, return_exceptions=True)

    assert sorted(waits)[len(waits) // 2] < 0.05
    await until(lambda: len(asyncio.all_tasks()) <= tasks, timeout=20)  # what had come is read to its end first
    await assert_serves(target)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param("malformed_json", "", id="nothing"),
        pytest.param("malformed_json", "{", id="truncated"),
        pytest.param("malformed_json", "[]", id="array"),
        pytest.param("malformed_json", '"x"', id="text"),
        pytest.param("malformed_json", "null", id="null"),
        pytest.param("malformed_json", '{"type":"ping","type":"echo"}', id="name twice"),
        pytest.param("malformed_json", '{"type":"echo","data":NaN}', id="NaN"),
        pytest.param("malformed_json", '{"type":"echo","data":"\\ud800"}', id="half a surrogate pair"),
        pytest.param("malformed_json", '{"type":"echo","data":' + "[" * 5000 + "]" * 5000 + "}", id="deep"),
        pytest.param("malformed_json", '{"type":"echo","data":' + "9" * 5000 + "}", id="5,000 digits"),
        pytest.param("unknown_type", "{}", id="no type"),
        pytest.param("unknown_type", '{"type":"Echo"}', id="type in another case"),
        pytest.param("unknown_type", '{"type":["echo"]}', id="type in an array"),
        pytest.param("unknown_type", '{"type":null}', id="null for the type"),
        pytest.param("unknown_type", '{"type":"__class__"}', id="type of a programmer"),
        pytest.param("invalid_fields", '{"type":"echo","data":1,"more":1}', id="unknown field"),
        pytest.param("invalid_fields", '{"type":"join"}', id="no room"),
        pytest.param("invalid_fields", '{"type":"join","room":1}', id="number for a room"),
        pytest.param("invalid_fields", '{"type":"join","room":""}', id="empty room"),
        pytest.param("invalid_fields", '{"type":"join","room":"A"}', id="capital in a room"),
        pytest.param("invalid_fields", '{"type":"join","room":"a\\n"}', id="line break after a room"),
        pytest.param("invalid_fields", '{"type":"join","room":"a\\u0000b"}', id="NUL in a room"),
        pytest.param("invalid_fields", '{"type":"join","room":"../a"}', id="path for a room"),
        pytest.param("invalid_fields", '{"type":"join","room":"' + "a" * 65 + '"}', id="room of 65"),
        pytest.param("invalid_fields", '{"type":"join","room":"' + "a" * 10_000 + '"}', id="room of 10,000"),
        pytest.param("invalid_fields", '{"type":"join","room":"a","history":-1}', id="history below zero"),
        pytest.param("invalid_fields", '{"type":"join","room":"a","history":"9"}', id="text for history"),
        pytest.param("invalid_fields", '{"type":"join","room":"a","history":true}', id="true for history"),
        pytest.param("bad_request", '{"type":"join","room":"a","after":"x"}', id="position of a letter"),
        pytest.param("bad_request", '{"type":"join","room":"a","after":"a-1\\n"}', id="line break after a position"),
        pytest.param(
            "bad_request", '{"type":"subscribe","after":"a-99999999999999999999"}', id="position beyond 63 bits"
        ),
        pytest.param("invalid_fields", '{"type":"subscribe","types":[]}', id="no types"),
        pytest.param("invalid_fields", '{"type":"subscribe","types":["user.exploded"]}', id="unknown event"),
        pytest.param("invalid_fields", '{"type":"members","room":"a","cursor":"x"}', id="cursor of a letter"),
        pytest.param("invalid_fields", '{"type":"ping","ref":"' + "r" * 65 + '"}', id="ref of 65"),
        pytest.param("invalid_fields", '{"type":"ping","ref":1}', id="number for a ref"),
        pytest.param("invalid_fields", '{"type":"broadcast","room":"a"}', id="broadcast of nothing"),
        pytest.param("conflict", '{"type":"broadcast","room":"elsewhere","data":1}', id="room one is not in"),
        pytest.param("not_found", '{"type":"join","room":"admin.secret"}', id="room for administrators"),
        pytest.param("not_found", '{"type":"members","room":"admin.secret"}', id="their members"),
        pytest.param("not_found", '{"type":"members","room":"nowhere"}', id="members of no room"),
        pytest.param("invalid_token", '{"type":"auth","token":"x"}', id="bad token"),
        pytest.param("invalid_fields", '{"type":"auth","token":"' + "x" * 5000 + '"}', id="token of 5,000"),
    ],
)
async def test_bad_frame_is_answered_and_the_socket_stays(target: Server, ada: Login, code: str, text: str) -> None:
    """A frame that cannot be carried out gets an `error` that says why and does not repeat it; the next one is served."""
    async with connected(target, "/v1/ws", ada) as peer:
        await peer.send(frame(TEXT, text))
        answer = (await receive(peer)).json
        assert (answer["type"], answer["code"]) == ("error", code)
        assert len(answer["detail"]) < 400
        assert await ask(peer, type="ping", ref="next") == {"type": "pong", "ref": "next"}


@pytest.mark.parametrize("room", ["lobby", "admin.ops"])
async def test_who_is_not_in_a_room_is_not_heard_there(target: Server, ada: Login, room: str) -> None:
    """A broadcast from outside is refused, and neither the room's members nor its history ever hear of it."""
    admin = await target.admin()
    async with connected(target, "/v1/ws", admin) as inside, connected(target, "/v1/ws", ada) as outside:
        assert (await ask(inside, type="join", room=room))["type"] == "joined"
        refused = await ask(outside, type="broadcast", room=room, data="from outside")
        assert (refused["type"], refused["code"]) == ("error", "conflict")
        await say(inside, type="broadcast", room=room, data="from inside", ref="said")
        heard = [(await receive(inside)).json for _ in range(3)]
        assert [frame["data"] for frame in heard if frame["type"] == "message"] == ["from inside"]
    page = await target.json("GET", f"/v1/rooms/{room}/messages?limit=100", admin)
    assert "from outside" not in [message["data"] for message in page["items"]]


async def test_binary_frame_is_answered_with_an_error(target: Server, ada: Login) -> None:
    """Binary frames are refused on `/v1/ws` with an error, and the socket stays."""
    async with connected(target, "/v1/ws", ada) as peer:
        await peer.send(frame(BINARY, b"\0\xff"))
        assert (await receive(peer)).json["code"] == "bad_request"
        assert (await ask(peer, type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "data", ["\0", "\u2028</script>", {"a": [1, None, 1.5, -0.0, "é😀"]}, 2**53, 10**400, "x" * 60_000]
)
async def test_echo_gives_back_what_it_got(target: Server, ada: Login, data: Any) -> None:
    """Any JSON value comes back as it was sent, with the `ref` of its frame."""
    async with connected(target, "/v1/ws", ada) as peer:
        assert await ask(peer, type="echo", data=data, ref="é" * 64) == {"type": "echo", "data": data, "ref": "é" * 64}


async def test_twenty_bad_frames_end_the_connection(target: Server, ada: Login) -> None:
    """A client that sends only bad frames is closed with 1008 after twenty; later frames are not executed."""
    async with connected(target, "/v1/ws", ada) as peer:
        await peer.send(frame(TEXT, "{") * 30 + frame(TEXT, '{"type":"join","room":"never"}'))
        frames = [await receive(peer) for _ in range(22)]
        assert [received.json["type"] for received in frames[:21]] == ["error"] * 20 + ["closing"]
        assert frames[21].code == 1008
        await peer.send(frame(CLOSE, frames[21].payload))
        assert await peer.is_closed()
    await assert_serves(target)


async def test_connection_is_in_so_many_rooms(target: Server, ada: Login) -> None:
    """The sixty-fifth room is refused, joining one of the others again is not."""
    async with connected(target, "/v1/ws", ada) as peer:
        for number in range(64):
            await say(peer, type="join", room=f"room{number}", ref="join")
        await say(peer, type="join", room="room64", ref="one too many")
        await say(peer, type="join", room="room0", ref="again")
        answers: dict[str, list[str]] = {}
        while "again" not in answers:
            received = (await receive(peer)).json
            answers.setdefault(received.get("ref", ""), []).append(received["type"])

    assert answers["join"] == ["joined"] * 64
    assert answers["one too many"] == ["error"]
    assert answers["again"] == ["joined"]


async def test_too_many_messages_end_the_connection() -> None:
    """A rate above the limit is closed with 4429, a burst within it is not."""
    async with serve(ws_messages_per_s=20) as server:
        member = await server.member()
        async with connected(server, "/v1/ws", member) as peer:
            await peer.send(frame(TEXT, '{"type":"ping"}') * 20)
            assert {(await receive(peer)).json["type"] for _ in range(20)} == {"pong"}
            await peer.send(frame(TEXT, '{"type":"ping"}') * 60)
            while (received := await receive(peer)).opcode == TEXT:
                pass
            assert received.code == 4429
            await peer.send(frame(CLOSE, received.payload))
            assert await peer.is_closed()


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING, b"x") * 60, id="pings"),
        pytest.param(frame(PONG) * 60, id="pongs"),
        pytest.param(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 60, id="empty fragments"),
        pytest.param(frame(TEXT, "x", fin=False) + frame(CONTINUATION, "x", fin=False) * 400, id="fragments of a byte"),
        pytest.param(frame(TEXT, '{"type":"ping"}') * 60, id="messages"),
    ],
)
async def test_frames_of_every_kind_count(path: str, flood: bytes) -> None:
    """Control frames and fragments count as messages do, on both endpoints: above the limit the close code is 4429."""
    async with serve(ws_messages_per_s=20) as server, connected(server, path, await server.member()) as peer:
        await peer.send(flood)
        while (received := await receive(peer)).opcode != CLOSE:
            pass
        assert received.code == 4429
        await peer.send(frame(CLOSE, received.payload))
        assert await peer.is_closed()


@pytest.mark.parametrize("flood", [frame(PING) * 30, frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 30])
async def test_frames_count_before_the_first_frame(flood: bytes) -> None:
    """A connection that has not sent `auth` has the same limit, also for what comes together with the handshake."""
    async with serve(ws_messages_per_s=20) as server, raw_peer(server.port) as peer:
        assert (await peer.upgrade("/v1/ws")).status == 101
        await peer.send(flood)
        while (received := await receive(peer)).opcode != CLOSE:
            pass
        assert received.code == 4429


async def test_client_that_goes_on_sending_is_reset_after_its_close_frame() -> None:
    """Above the limit a client that goes on sending gets 4429, is read no further, and is reset a second later."""
    async with serve(ws_messages_per_s=20) as server, raw_peer(server.port) as peer:
        assert (await peer.upgrade("/v1/echo")).status == 101
        await peer.send(frame(PING) * 5_000)
        while (received := await receive(peer)).opcode != CLOSE:
            pass
        assert received.code == 4429
        assert await peer.is_closed()


async def test_who_does_not_say_who_it_is_is_closed() -> None:
    """Without credentials and without `auth` in time, whatever else is sent, a WebSocket is closed with 4401."""
    async with serve(ws_auth_timeout_s=0.2) as server:
        for path in ("/v1/ws", "/v1/ws?token=x", "/v1/ws?access_token=x"):
            for said in (b"", frame(PING, b"x") * 3):
                async with raw_peer(server.port) as peer:
                    assert (await peer.upgrade(path)).status == 101
                    await peer.send(said)
                    while (received := await receive(peer)).opcode == PONG:
                        pass
                    assert received.code == 4401
        await assert_serves(server)


@pytest.mark.parametrize(
    "first",
    [
        frame(TEXT, '{"type":"ping"}'),
        frame(TEXT, '{"type":"auth","token":"x"}'),
        frame(TEXT, '{"type":"auth"}'),
        frame(TEXT, '{"type":"subscribe"}'),
        frame(TEXT, "{"),
        frame(BINARY, b'{"type":"auth"}'),
    ],
)
async def test_nothing_comes_before_auth(target: Server, first: bytes) -> None:
    """The first frame is a good `auth`, or the answer is at most an `error`, then 4401."""
    async with raw_peer(target.port) as peer:
        assert (await peer.upgrade("/v1/ws")).status == 101
        await peer.send(first + frame(TEXT, '{"type":"ping"}'))
        received = await receive(peer)
        if received.opcode == TEXT:
            assert received.json["type"] == "error"
            received = await receive(peer)
        assert received.code == 4401
        await peer.send(frame(CLOSE, received.payload))
        assert await peer.is_closed()


@pytest.mark.parametrize(("given", "answered"), [(1006, 1002), (1000, 1000)])
async def test_close_before_auth_is_answered_with_its_code(target: Server, given: int, answered: int) -> None:
    """A peer that leaves before it said who it is gets its close answered like any other."""
    async with raw_peer(target.port) as peer:
        assert (await peer.upgrade("/v1/ws")).status == 101
        await peer.send(close(given))
        assert (await receive(peer)).code == answered
        assert await peer.is_closed()


@pytest.mark.parametrize(
    ("path", "credentials"),
    [
        ("/v1/ws", "Authorization: Bearer x"),
        ("/v1/ws", "Authorization: Basic YTpi"),
        (f"/v1/ws?ticket=0123456789ab.{'a' * 43}", "Cookie: roster_stream_0123456789ab=x"),
    ],
)
async def test_bad_credentials_are_refused_before_the_upgrade(target: Server, path: str, credentials: str) -> None:
    """Wrong credentials in the handshake get 401 instead of a WebSocket."""
    async with raw_peer(target.port) as peer:
        answer = await peer.upgrade(path, credentials, "Origin: http://127.0.0.1")
        assert answer.status == 401
        assert await peer.is_closed()


async def test_another_users_token_ends_the_connection(target: Server, ada: Login) -> None:
    """`auth` renews; with another user's token it is 4403, and nothing is sent in that user's name."""
    other = await target.member()
    async with connected(target, "/v1/ws", ada) as peer:
        renewed = await ask(peer, type="auth", token=ada.access_token)
        assert renewed["type"] == "authenticated"
        await say(peer, type="auth", token=other.access_token)
        assert (await receive(peer)).json == {"type": "closing", "reason": "wrong_user", "reconnect_after_ms": None}
        assert (await receive(peer)).code == 4403


async def test_connection_ends_with_its_token() -> None:
    """A WebSocket by bearer is closed with 4401 when the token ends."""
    async with serve(access_ttl_s=1) as server:
        member = await server.member()
        async with connected(server, "/v1/ws", member) as peer:
            assert (await receive(peer)).json["reason"] == "expired"
            assert (await receive(peer)).code == 4401


@pytest.mark.parametrize("kind", KINDS, indirect=True, scope="module")
@pytest.mark.parametrize(
    ("method", "body", "reason", "code"),
    [
        ("DELETE", None, "account_gone", 4403),
        ("PATCH", {"active": False}, "account_gone", 4403),
        ("PATCH", {"role": "admin"}, "rights_changed", 4401),
    ],
)
async def test_connection_ends_with_the_rights_of_its_user(
    target: Server, method: str, body: dict[str, Any] | None, reason: str, code: int
) -> None:
    """Deleted, deactivated or given another role: the open WebSocket hears of it within a second and ends."""
    admin, member = await target.admin(), await target.member()
    async with connected(target, "/v1/ws", member) as peer:
        status = 204 if method == "DELETE" else 200
        await target.json(method, f"/v1/users/{member.id}", admin, status=status, json=body)
        async with asyncio.timeout(1 + BUSY_S):
            assert (await receive(peer)).json["reason"] == reason
            assert (await receive(peer)).code == code


async def test_peers_that_vanish_leave_nothing(target: Server, ada: Login) -> None:
    """Fifty peers that reset their connections, some in the middle of a frame, are forgotten at once."""
    before = len(target.app[SERVICES].connections)
    for number in range(50):
        async with connected(target, "/v1/ws", ada) as peer:
            await say(peer, type="join", room="crowd")
            if number % 2:
                await peer.send(head(TEXT, 100) + struct.pack("!I", 0) + b"half")
    await until(lambda: len(target.app[SERVICES].connections) == before)
    await assert_serves(target)
