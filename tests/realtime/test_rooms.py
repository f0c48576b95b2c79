"""Rooms: delivery, retention, and the end of a room."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import WSMsgType

from service.domain.errors import ResponseExpired
from service.domain.events.position import Position
from service.domain.idempotency.claims import IdempotencyKeys
from service.domain.rooms.rules import RoomRules
from service.http.services import SERVICES
from service.realtime.encoding import WireEncoding
from service.realtime.rooms.memory_rooms import MemoryRoom, MemoryRooms
from service.realtime.rooms.message import encode_body, encode_message
from service.realtime.rooms.room import ALL, MESSAGES
from tests.support.clock import ManualClock
from tests.support.frames import TEXT, frame, receive
from tests.support.peer import raw_peer
from tests.support.server import Server, serve
from tests.support.streams import FakeStream, a_principal
from tests.support.wait import until
from tests.support.ws import Client, Json, connect


def rooms_of(clock: ManualClock, *, history: int = 5, history_s: float = 60) -> MemoryRooms:
    return MemoryRooms(clock, RoomRules({}), history=history, history_s=history_s, batch_s=0.01, grace_s=0)


async def said(client: Client, count: int) -> list[Any]:
    """The data of the next so many messages; presence is passed over."""
    return [(await client.until("message"))["data"] for _ in range(count)]


async def quiet(client: Client) -> list[Json]:
    """The frames that have arrived."""
    assert await client.ask("ping") == {"type": "pong"}
    frames = []
    while client._aside:
        frames.append(client._aside.popleft())
    return frames


# --- Without a server -------------------------------------------------------------------------------------------------


async def test_message_is_the_same_bytes_for_everybody() -> None:
    """Positions count from 1 in the room's own epoch; the frame says who, when and what."""
    clock = ManualClock()
    rooms, ada = rooms_of(clock), a_principal()
    room, other = await rooms.enter("lobby", ada), await rooms.enter("other", ada)
    assert room.epoch != other.epoch

    entries = [await rooms.send(room.name, ada, data) for data in ({"a": [1]}, None)]

    assert [entry.position for entry in entries] == [f"{room.epoch}-1", f"{room.epoch}-2"]
    assert json.loads(entries[0].frame) == {
        "type": "message",
        "room": "lobby",
        "id": f"{room.epoch}-1",
        "from": {"id": ada.user, "username": ada.username},
        "time": "2026-11-21T09:30:00.000000Z",
        "data": {"a": [1]},
    }
    await rooms.close()


async def test_history_is_bounded_by_count_and_age() -> None:
    """A reader may resume from as many messages as are kept, none of them older than is promised."""
    clock = ManualClock()
    rooms, ada = rooms_of(clock, history=5, history_s=60), a_principal()
    room = await rooms.enter("lobby", ada)
    for number in range(8):
        await rooms.send(room.name, ada, number)
        clock.advance(10)
    assert room.oldest == 3

    rooms.sweep()
    assert room.oldest == 3
    clock.advance(10)  # the last five were sent 60, 50, 40, 30 and 20 seconds ago
    rooms.sweep()
    assert room.oldest == 3
    clock.advance(1)
    rooms.sweep()
    assert room.oldest == 4
    clock.advance(60)
    rooms.sweep()
    assert room.oldest == 8
    await rooms.close()


async def test_room_lives_while_it_has_members_or_history() -> None:
    """The last of both takes it away; a new one of that name is another room."""
    clock = ManualClock()
    rooms, ada = rooms_of(clock, history_s=60), a_principal()
    silent, spoken = await rooms.enter("silent", ada), await rooms.enter("spoken", ada)
    await rooms.send(spoken.name, ada, 1)
    rooms.sweep()
    assert len(rooms) == 2

    rooms.leave(silent, ada)
    rooms.leave(spoken, ada)
    await until(lambda: len(rooms) == 1)
    assert rooms._rooms.get("spoken") is spoken
    clock.advance(61)
    rooms.sweep()
    assert len(rooms) == 0

    assert (await rooms.enter("spoken", ada)).epoch != spoken.epoch
    await rooms.close()


async def test_what_all_rooms_keep_is_bounded() -> None:
    """Empty rooms are removed first, the longest empty before others; then the oldest history."""
    most, megabyte = 64 << 20, "x" * (1 << 20)
    rooms, ada = rooms_of(ManualClock(), history=1000, history_s=1e9), a_principal()
    for number in range(40):
        left = await rooms.enter(f"left{number}", ada)
        await rooms.send(left.name, ada, megabyte)
        rooms.leave(left, ada)
    await until(lambda: all(not room.count for room in rooms._rooms.values()))
    staying = [await rooms.enter(f"staying{number}", ada) for number in range(12)]
    for room in staying:
        for _ in range(9):
            await rooms.send(room.name, ada, megabyte)
            assert sum(room.ring.bytes for room in rooms._rooms.values()) == rooms._bytes <= most

    assert len(rooms) == 12
    assert [len(room.ring) > 0 for room in staying] == sorted(len(room.ring) > 0 for room in staying)
    assert len(staying[0].ring) == 0
    await rooms.close()
    assert rooms._bytes == 0


async def test_dropped_room_releases_its_messages_at_once() -> None:
    """A dropped room holds no message, although the room itself, a cycle of references, waits for the collector."""
    clock = ManualClock()
    rooms, ada = rooms_of(clock, history_s=60), a_principal()
    room = await rooms.enter("lobby", ada)
    await rooms.send(room.name, ada, "x" * 60_000)
    rooms.leave(room, ada)
    await until(lambda: not room.count)
    clock.advance(61)
    rooms.sweep()

    assert len(rooms) == 0
    assert (len(room.ring), room.ring.bytes) == (0, 0)


async def test_number_of_empty_rooms_is_bounded() -> None:
    """Going from room to room and leaving a word in each fills no memory."""
    clock = ManualClock()
    rooms, ada = rooms_of(clock), a_principal()
    for number in range(10_050):
        room = await rooms.enter(f"room{number}", ada)
        await rooms.send(room.name, ada, number)
        rooms.leave(room, ada)
    await until(lambda: len(rooms) == 10_000)

    assert rooms._rooms.get("room49") is None
    assert rooms._rooms.get("room50") is not None
    await rooms.close()


async def test_empty_room_keeps_no_more_than_who_comes_back_may_read() -> None:
    """Messages that were kept for slow readers go with the last member."""
    rooms, ada = rooms_of(ManualClock(), history=5), a_principal()
    room = await rooms.enter("lobby", ada)
    for number in range(20):
        await rooms.send(room.name, ada, number)
    assert len(room.ring) == 20
    rooms.leave(room, ada)
    await until(lambda: not room.count)

    assert len(room.ring) == 5
    assert rooms._bytes == room.ring.bytes
    await rooms.close()


async def test_message_with_a_key_is_sent_once() -> None:
    """Until the key expires or the room is gone; a message that the ring holds no more is neither returned nor sent again."""
    clock = ManualClock()
    rooms, ada, names = rooms_of(clock, history=1, history_s=1_000), a_principal(), IdempotencyKeys("s", 100)

    async def send(key: str) -> tuple[str, bool]:
        claim = names.claim(ada.caller.id, "POST /v1/rooms/lobby/messages", key, b"{}", clock())
        entry, is_replay = await rooms.send_once("lobby", ada, key, claim)
        return entry.position.partition("-")[2], is_replay

    room = await rooms.enter("lobby", ada)
    assert [await send(key) for key in ("a", "b", "a", "b")] == [("1", False), ("2", False), ("1", True), ("2", True)]
    rooms.leave(room, ada)
    await until(lambda: len(room.ring) == 1)
    with pytest.raises(ResponseExpired):
        await send("a")
    assert await send("b") == ("2", True)
    clock.advance(100)
    assert await send("b") == ("3", False)
    await rooms.close()
    assert await send("b") == ("1", False)
    await rooms.close()


async def test_presence_reaches_members_at_the_head_in_order_with_messages() -> None:
    """Presence comes after the messages sent before it; a reader of the history does not receive it, nor does an event stream."""
    room = MemoryRoom("lobby", 5, rooms_of(ManualClock()))
    members = [FakeStream(encoding=WireEncoding.WEBSOCKET), FakeStream(encoding=WireEncoding.PLAIN)]

    class Listener:
        def __init__(self, stream: FakeStream) -> None:
            self.stream, self.encoding, self.put, self.behind = stream, stream.encoding, stream.put, list[int]()
            self.filter = ALL if stream.encoding is WireEncoding.WEBSOCKET else MESSAGES

        @property
        def is_full(self) -> bool:
            return self.stream.is_full

        def on_detached(self, seq: int) -> None:
            self.behind.append(seq)

    socket, stream = (Listener(member) for member in members)
    for listener in (socket, stream):
        room.attach(listener, 0)
    now = ManualClock()()
    room.take(encode_message("lobby", Position(room.epoch, 1), now, encode_body(a_principal(), "before")), now)
    room.announce({"count": 1})
    assert members[0].buffered.index(b"before") < members[0].buffered.index(b"presence")
    assert b"presence" not in members[1].buffered

    members[0].full_bytes = 1
    room.announce({"count": "2" * 20_000})
    live: set[object] = set(room.live_readers())
    assert (socket.behind, live) == ([1], {stream})


# --- Over WebSockets --------------------------------------------------------------------------------------------------


async def test_only_members_receive_a_message(server: Server) -> None:
    """The sender too, once; who has left or is in another room hears nothing."""
    ada, bob = await server.member(), await server.member()
    async with connect(server, ada) as one, connect(server, bob) as two, connect(server, bob) as other:
        assert (await one.ask("join", room="lobby"))["count"] == 1
        assert (await two.ask("join", room="lobby"))["count"] == 2
        await other.ask("join", room="elsewhere")

        sent = await one.ask("broadcast", room="lobby", data={"text": "hi"})
        heard = [await one.until("message"), await two.until("message")]
        assert heard[0] == heard[1]
        assert heard[0]["id"] == sent["id"]
        assert heard[0]["from"] == {"id": ada.id, "username": ada.username}

        assert await two.ask("leave", room="lobby") == {"type": "left", "room": "lobby"}
        await one.ask("broadcast", room="lobby", data=2)
        assert (await one.until("message"))["data"] == 2
        assert [frame for frame in await quiet(two) if frame["type"] == "message"] == []
        assert [frame for frame in await quiet(other) if frame["type"] == "message"] == []


async def test_renamed_member_speaks_by_its_new_name(server: Server) -> None:
    """Over the connection that is open, and over a new one with the token that it had."""
    ada = await server.member("ada")
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"username": "lovelace"})
        await until(lambda: server.app[SERVICES].hub.ring.head == 3)
        await client.ask("broadcast", room="lobby", data=1)
        assert (await client.until("message"))["from"]["username"] == "lovelace"
        async with connect(server, ada) as other:
            assert other.hello["user"]["username"] == "lovelace"


async def test_messages_of_all_senders_come_in_one_order(server: Server) -> None:
    """Every member sees the same sequence, dense from the first to the last."""
    ada = await server.member()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server, ada)) for _ in range(8)]
        for client in clients:
            await client.ask("join", room="lobby")

        async def speak(client: Client, name: int) -> None:
            for number in range(25):
                await client.send("broadcast", room="lobby", data=[name, number])

        async def listen(client: Client) -> list[tuple[str, Any]]:
            heard = [await client.until("message", 20) for _ in range(200)]
            return [(message["id"], message["data"]) for message in heard]

        heard, *_ = await asyncio.gather(
            asyncio.gather(*(listen(client) for client in clients)),
            *(speak(client, name) for name, client in enumerate(clients)),
        )
    assert all(one == heard[0] for one in heard)
    assert [int(position.rpartition("-")[2]) for position, _ in heard[0]] == list(range(1, 201))
    for name in range(8):
        assert [number for _, (speaker, number) in heard[0] if speaker == name] == list(range(25))


@pytest.mark.parametrize(("history", "expected"), [(0, []), (2, [5, 6]), (100, [2, 3, 4, 5, 6])])
async def test_history_comes_behind_the_answer_and_before_what_is_new(history: int, expected: list[int]) -> None:
    """`joined` first, then as many messages as were asked for and are kept, then live ones, without a seam."""
    async with serve(room_history_count=5) as server:
        ada = await server.member()
        async with connect(server, ada) as speaker, connect(server, ada) as client:
            await speaker.ask("join", room="lobby")
            for number in range(7):
                await speaker.ask("broadcast", room="lobby", data=number)
            joined = await client.ask("join", room="lobby", history=history)
            await speaker.ask("broadcast", room="lobby", data="live")
            assert await said(client, len(expected) + 1) == [*expected, "live"]
    seq = int(joined["position"].rpartition("-")[2])
    assert (joined["recovered"], seq) == (True, 7 - len(expected))


@pytest.mark.parametrize(
    ("after", "recovered", "expected"),
    [
        ("EPOCH-5", True, [5, 6]),
        ("EPOCH-7", True, []),
        ("EPOCH-2", True, [2, 3, 4, 5, 6]),
        ("EPOCH-1", False, []),
        ("EPOCH-8", False, []),
        ("other-5", False, []),
    ],
)
async def test_coming_back_reads_on_where_it_can(after: str, recovered: bool, expected: list[int]) -> None:
    """`recovered` says whether anything is missing; `after` wins over `history`."""
    async with serve(room_history_count=5) as server:
        ada = await server.member()
        async with connect(server, ada) as speaker, connect(server, ada) as client:
            epoch = (await speaker.ask("join", room="lobby"))["position"].rpartition("-")[0]
            for number in range(7):
                await speaker.ask("broadcast", room="lobby", data=number)
            after = after.replace("EPOCH", epoch)
            joined = await client.ask("join", room="lobby", after=after, history=3)
            await speaker.ask("broadcast", room="lobby", data="live")
            assert await said(client, len(expected) + 1) == [*expected, "live"]
    assert joined["recovered"] is recovered
    assert joined["position"] == (after if recovered else f"{epoch}-7")


async def test_cut_off_member_misses_nothing_and_hears_nothing_twice(server: Server) -> None:
    """Coming back after the last message heard, over and over, gives the whole conversation."""
    ada = await server.member()
    heard: list[Any] = []
    async with connect(server, ada) as speaker:
        epoch = (await speaker.ask("join", room="lobby"))["position"].rpartition("-")[0]
        for round_ in range(5):
            for number in range(10):
                await speaker.ask("broadcast", room="lobby", data=round_ * 10 + number)
            async with connect(server, ada) as client:
                joined = await client.ask("join", room="lobby", after=f"{epoch}-{len(heard)}")
                assert joined["recovered"]
                await speaker.ask("ping")
                heard += await said(client, 7)
    assert heard == list(range(35))


async def test_joining_twice_is_harmless(server: Server) -> None:
    """The second answer says where the first has come; no message comes twice, no member is counted twice."""
    ada = await server.member()
    async with connect(server, ada) as client:
        first = await client.ask("join", room="lobby")
        await client.ask("broadcast", room="lobby", data=1)
        again = await client.ask("join", room="lobby", history=10)
        await client.ask("broadcast", room="lobby", data=2)
        assert await said(client, 2) == [1, 2]
        frames = await quiet(client)
    assert again["count"] == first["count"] == 1
    assert again["recovered"]
    assert [frame for frame in frames if frame["type"] == "message"] == []


async def test_joins_and_leaves_are_announced(server: Server) -> None:
    """In one frame per batch; a second tab is the same member, and a quick return is not announced."""
    ada, bob, cat = [await server.member() for _ in range(3)]
    async with connect(server, ada) as watcher, AsyncExitStack() as stack:
        await watcher.ask("join", room="lobby")
        assert (await watcher.until("presence"))["joined"] == [{"id": ada.id, "username": ada.username}]
        clients = [await stack.enter_async_context(connect(server, who)) for who in (bob, bob, cat)]
        for client in clients:
            await client.ask("join", room="lobby")
        told = [await watcher.until("presence")]
        while told[-1]["count"] < 3:
            told.append(await watcher.until("presence"))
        assert [member["id"] for one in told for member in one["joined"]] == [bob.id, cat.id]

        await clients[0].ask("leave", room="lobby")
        await clients[2].ask("leave", room="lobby")
        left = await watcher.until("presence")
        assert (left["count"], left["joined"]) == (2, [])
        assert [member["id"] for member in left["left"]] == [cat.id]


async def test_quick_return_over_a_new_connection_is_not_announced() -> None:
    """A page that is loaded again does not make its user leave."""
    async with serve(presence_grace_s=3600) as server:
        ada, bob = await server.member(), await server.member()
        async with connect(server, ada) as watcher:
            await watcher.ask("join", room="lobby")
            await watcher.until("presence")
            async with connect(server, bob) as client:
                await client.ask("join", room="lobby")
                assert (await watcher.until("presence"))["count"] == 2
            async with connect(server, bob) as client:
                assert (await client.ask("join", room="lobby"))["count"] == 2
                await asyncio.sleep(0.06)  # three batches: a change that is not announced by then never is
                assert await quiet(watcher) == []


async def test_members_are_listed(server: Server) -> None:
    """By id, with their names and since when; also to a user who is not in the room, in pages."""
    users = [await server.member() for _ in range(3)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server, user)) for user in users]
        for client in clients[:2]:
            await client.ask("join", room="lobby")
        page = await clients[2].ask("members", room="lobby")
        rest = await clients[2].ask("members", room="lobby", cursor=users[0].id)
        absent = await clients[2].ask("members", room="nowhere")
    assert [member["id"] for member in page["members"]] == sorted(user.id for user in users[:2])
    assert {member["username"] for member in page["members"]} == {user.username for user in users[:2]}
    assert all(member["since"].endswith("Z") for member in page["members"])
    assert page["next"] is None
    assert [member["id"] for member in rest["members"]] == [users[1].id]
    assert absent["code"] == "not_found"


async def test_admin_rooms_answer_members_like_absent_ones(server: Server) -> None:
    """Joining and listing say `not_found`, whether the room is there or not; admins meet in it."""
    admin, ada = await server.admin(), await server.member()
    async with connect(server, admin) as chief, connect(server, ada) as client:
        assert (await chief.ask("join", room="admin.ops"))["type"] == "joined"
        for room in ("admin.ops", "admin.none"):
            answers = [await client.ask(type_, room=room) for type_ in ("join", "members")]
            assert [(answer["type"], answer["code"]) for answer in answers] == [("error", "not_found")] * 2
        assert (await client.ask("broadcast", room="admin.ops", data=1))["type"] == "error"
        assert [frame["type"] for frame in await quiet(chief)] in (["presence"], [])


async def test_reader_that_falls_off_the_ring_is_ended() -> None:
    """A room keeps a thousand messages for slow readers; further back it is 4408, and a reconnect helps."""
    async with serve(send_buffer=16_384) as server:
        ada, bob = await server.member(), await server.member()
        async with connect(server, bob) as speaker, server.ws(ada, max_msg_size=0) as own:
            slow = Client(own)
            await slow.expect("hello")
            await slow.ask("join", room="lobby")
            await speaker.ask("join", room="lobby")
            assert own._response.connection is not None
            transport = own._response.connection.transport
            assert transport is not None
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            transport.pause_reading()
            connection = next(one for one in server.app[SERVICES].connections if one.principal.user == ada.id)
            while not connection.is_full:
                await speaker.ask("broadcast", room="lobby", data="x" * 60_000)
            for number in range(1100):
                await speaker.ask("broadcast", room="lobby", data=number)
            assert len(speaker._aside) > 1100
            transport.resume_reading()
            closing, code = await slow.closing()
            assert (closing["reason"], code) == ("too_slow", 4408)
            assert closing["reconnect_after_ms"] >= 250
        await until(lambda: len(server.app[SERVICES].connections) == 0)


async def test_messages_are_deflated_for_those_who_agreed_on_it() -> None:
    """Once for all of them; who agreed on nothing reads the same plain."""
    async with serve(ws_deflate=True) as server:
        ada = await server.member()
        async with (
            connect(server, ada, compress=15) as deflated,
            connect(server, ada) as plain,
        ):
            assert [client.socket.compress for client in (deflated, plain)] == [15, 0]
            for client in (deflated, plain):
                await client.ask("join", room="lobby")
            texts = ["x" * 10_000, "short", "y" * 20_000]
            for text in texts:
                await deflated.ask("broadcast", room="lobby", data=text)
            for client in (deflated, plain):
                assert await said(client, 3) == texts
            forms = [stream.encoding for stream in server.app[SERVICES].connections]
            assert forms == [WireEncoding.DEFLATED, WireEncoding.WEBSOCKET]


async def test_who_agreed_on_a_smaller_window_reads_plain() -> None:
    """What is compressed for all may look further back than such a client can (RFC 7692, 7.1.2.1)."""
    async with serve(ws_deflate=True) as server:
        ada = await server.member()
        async with raw_peer(server.port) as peer:
            await peer.send(
                "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"
                f"Authorization: {ada.headers['Authorization']}\r\n\r\n"
            )
            head = await peer.reader.readuntil(b"\r\n\r\n")
            assert b"server_max_window_bits=9" in head
            assert (await receive(peer)).json["type"] == "hello"
            for command in ({"type": "join"}, {"type": "broadcast", "data": "x" * 5000}):
                await peer.send(frame(TEXT, json.dumps({**command, "room": "lobby"})))
            while (got := (await receive(peer)).json)["type"] != "message":
                pass
            assert got["data"] == "x" * 5000


async def test_inflated_size_is_bounded() -> None:
    """A small frame that would become a large message is refused like a large one (1009)."""
    async with serve(ws_deflate=True) as server:
        ada = await server.member()
        async with connect(server, ada, compress=15) as client:
            await client.send("echo", data="x" * 10_000_000)
            message = await client.socket.receive(timeout=5)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)


async def test_deflate_is_off_by_default(server: Server) -> None:
    """A client that offers it is answered without."""
    ada = await server.member()
    async with connect(server, ada, compress=15) as client:
        assert client.socket.compress == 0


async def test_leaving_takes_nothing_that_was_sent_before(server: Server) -> None:
    """A message and then a leave in one frame batch: the message still arrives."""
    ada = await server.member()
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        for _ in range(20):
            await client.send("broadcast", room="lobby", data=1)
            await client.send("leave", room="lobby")
            await client.send("join", room="lobby")
            assert (await client.until("message"))["data"] == 1
            await client.until("joined")


async def test_lost_position_of_a_room_is_a_reset(server: Server) -> None:
    """Before `joined`, with the reason and where the history is."""
    ada = await server.member()
    async with connect(server, ada) as client:
        await client.send("join", room="lobby", after="another2-7")
        reset, joined = await client.expect("reset"), await client.expect("joined")
        position = joined["position"]
        resync = "/v1/rooms/lobby/messages"
        assert reset == {"type": "reset", "room": "lobby", "reason": "epoch", "position": position, "resync": resync}
        assert joined["recovered"] is False


async def test_members_are_shown_by_their_present_names(server: Server) -> None:
    """A user who is renamed while in a room is listed by the new name."""
    ada = await server.member("ada")
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"username": "lovelace"})
        await until(lambda: server.app[SERVICES].hub.ring.head == 3)
        assert [one["username"] for one in (await client.ask("members", room="lobby"))["members"]] == ["lovelace"]
