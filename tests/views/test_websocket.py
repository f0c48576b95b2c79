"""The WebSocket: credentials, the frames before and after authentication, and the close."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import time
from contextlib import AsyncExitStack
from unittest import mock

import aiohttp
import pytest
from aiohttp import WSMsgType, WSServerHandshakeError, web

from service.http.services import SERVICES
from service.realtime.connection import Connection
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.hub import Hub
from tests.support.peer import RawPeer, raw_peer
from tests.support.server import Login, Server, serve
from tests.support.wait import BUSY_S, until
from tests.support.ws import Client, connect

_DATA_SEGMENTS_IN = 152  # where it stands in `struct tcp_info` (linux/tcp.h)


def connections(server: Server) -> ConnectionRegistry:
    return server.app[SERVICES].connections


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455, 5.2); the mask is zero, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + struct.pack("!H", size)
    else:
        head = bytes((0x80 | opcode, 0xFF)) + struct.pack("!Q", size)
    return head + bytes(4) + payload


async def read_frame(peer: RawPeer) -> tuple[int, bytes]:
    """The next frame of the server."""
    async with asyncio.timeout(5):
        first, size = await peer.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await peer.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await peer.reader.readexactly(8))
        return first & 0x0F, await peer.reader.readexactly(size)


# --- The handshake ----------------------------------------------------------------------------------------------------


async def test_subprotocol_is_named_back(server: Server) -> None:
    """`roster.v1` is chosen where it is offered; without an offer there is none."""
    ada = await server.member()
    async with connect(server, ada, protocols=("other", "roster.v1")) as client:
        assert client.socket.protocol == "roster.v1"
    async with connect(server, ada) as client:
        assert client.socket.protocol is None


async def test_nothing_is_compressed(server: Server) -> None:
    """A compressor for each connection would cost seven times the rest of it."""
    ada = await server.member()
    async with connect(server, ada, compress=15) as client:
        assert not client.socket.compress


@pytest.mark.parametrize(
    ("method", "version", "remove", "add", "status"),
    [
        ("GET", "1.1", "Upgrade", None, 426),
        ("GET", "1.1", "Connection", None, 426),
        ("GET", "1.1", "Sec-WebSocket-Version", None, 426),
        ("GET", "1.1", "Sec-WebSocket-Version", "Sec-WebSocket-Version: 12", 426),
        ("GET", "1.1", "Sec-WebSocket-Key", None, 400),
        ("GET", "1.1", "Sec-WebSocket-Key", "Sec-WebSocket-Key: short", 400),
        ("GET", "1.1", "Sec-WebSocket-Key", "Sec-WebSocket-Key: not base64!!!!!!!!!!!!!!", 400),
        ("GET", "1.1", None, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 400),
        ("GET", "1.0", None, None, 426),
        ("HEAD", "1.1", None, None, 426),
        ("POST", "1.1", None, None, 405),
    ],
)
async def test_what_is_no_handshake_is_refused_and_the_connection_closed(
    server: Server, method: str, version: str, remove: str | None, add: str | None, status: int
) -> None:
    """RFC 6455, 4.2: a problem that says what is missing; what follows is not taken for frames or requests."""
    ada = await server.member()
    lines = [
        f"{method} /v1/ws HTTP/{version}",
        "Host: 127.0.0.1",
        f"Authorization: {ada.headers['Authorization']}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ]
    lines = [line for line in lines if remove is None or not line.startswith(f"{remove}:")] + ([add] if add else [])
    async with raw_peer(server.port) as peer:
        await peer.send("\r\n".join(lines) + "\r\n\r\n")
        answer = await peer.answer(head=method == "HEAD")
        assert answer.status == status
        if status == 426:
            assert answer.headers["upgrade"] == "websocket"
            assert await peer.is_closed(1)
    assert len(connections(server)) == 0


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (None, True),
        ("https://roster.example.com", True),
        ("https://app.example.com", True),
        ("https://evil.example.com", False),
        ("https://roster.example.com.evil.test", False),
        ("http://roster.example.com", False),
        ("null", False),
        ("", False),
    ],
)
async def test_pages_of_other_origins_may_not_connect(origin: str | None, passes: bool) -> None:
    """A cookie would travel with them: only our own page, those on the list, and what is no browser pass."""
    async with serve(public_url="https://roster.example.com", cors_origins=["https://app.example.com"]) as server:
        ada = await server.member()
        headers = {} if origin is None else {"Origin": origin}
        if passes:
            async with connect(server, ada, headers=headers) as client:
                assert client.hello["type"] == "hello"
        else:
            with pytest.raises(WSServerHandshakeError) as refused:
                await server.ws(ada, headers=headers)
            assert refused.value.status == 403


async def test_bad_token_is_refused_before_the_upgrade(server: Server) -> None:
    """A token that is not valid is a 401, not an anonymous socket."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await server.ws(headers={"Authorization": "Bearer x.y.z"})
    assert refused.value.status == 401


async def test_ticket_opens_a_socket_and_the_cookie_another(server: Server) -> None:
    """A browser sends no header: its page gets a ticket, and comes back by the cookie that came with it."""
    ada = await server.member()
    async with aiohttp.ClientSession(server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post("/v1/auth/ticket", headers=ada.headers) as answer:
            ticket = (await answer.json())["ticket"]
        for _ in range(2):
            async with browser.ws_connect("/v1/ws", params={"ticket": ticket}, origin=server.url) as socket:
                assert (await socket.receive_json())["user"]["id"] == ada.id


# --- Before authentication --------------------------------------------------------------------------------------------


async def test_first_frame_may_bring_the_token(server: Server) -> None:
    """Nothing is said before; then `authenticated`, then `hello`."""
    ada = await server.member()
    async with connect(server) as client:
        await client.send("auth", token=ada.access_token)
        authenticated, hello = await client.expect("authenticated"), await client.expect("hello")
        assert authenticated == {"type": "authenticated", "expires_at": hello["expires_at"]}
        assert hello["user"] == {"id": ada.id, "username": ada.username}
        assert await client.ask("ping") == {"type": "pong"}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type":"auth","token":"x.y.z"}', "invalid_token"),
        ('{"type":"auth","token":""}', "invalid_fields"),
        ('{"type":"auth"}', "invalid_fields"),
        ('{"type":"auth","token":"x.y.z","role":"admin"}', "invalid_fields"),
        ('{"type":"join","room":"lobby"}', "invalid_fields"),
        ("[]", "malformed_json"),
        ("nonsense", "malformed_json"),
    ],
)
async def test_first_frame_that_is_no_credential_ends_the_socket(server: Server, frame: str, code: str) -> None:
    """One `error`, then 4401: before authentication there is only one try."""
    async with connect(server) as client:
        await client.socket.send_str(frame)
        assert (await client.expect("error"))["code"] == code
        assert await client.next() is None
        assert client.socket.close_code == 4401


async def test_binary_first_frame_ends_the_socket(server: Server) -> None:
    """It cannot be `auth`."""
    async with connect(server) as client:
        await client.socket.send_bytes(b"auth")
        assert await client.next() is None
        assert client.socket.close_code == 4401


async def test_silence_before_auth_ends_the_socket() -> None:
    """Nothing was said to it, and after the time allowed it is closed."""
    async with serve(ws_auth_timeout_s=0.1) as server, connect(server) as client:
        assert await client.next() is None
        assert client.socket.close_code == 4401


async def test_nothing_is_sent_before_auth(server: Server) -> None:
    """A socket that has not said who it is gets no event, whatever happens meanwhile."""
    admin = await server.admin()
    async with connect(server) as client:
        for _ in range(5):
            await server.member()
        await client.send("auth", token=admin.access_token)
        assert [(await client.next() or {})["type"] for _ in range(2)] == ["authenticated", "hello"]
        assert await client.ask("ping") == {"type": "pong"}


async def test_sockets_without_auth_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address may have so many that have not said who they are; places are free again as soon as they have."""
    monkeypatch.setattr("service.realtime.pending_auth._MOST_WAITING", 2)
    ada = await server.member()
    async with connect(server) as one, connect(server):
        async with connect(server) as third:
            assert (await third.expect("error"))["code"] == "too_many_requests"
            assert await third.next() is None
            assert third.socket.close_code == 4429
        async with connect(server, ada) as known:
            assert await known.ask("ping") == {"type": "pong"}
        await one.send("auth", token=ada.access_token)
        await one.until("hello")
        async with connect(server) as third:
            await third.send("auth", token=ada.access_token)
            await third.until("hello")


async def test_fault_while_the_token_is_checked_closes_the_socket(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """1011, and no second status line in the middle of the WebSocket."""
    ada = await server.member()
    async with connect(server) as client:
        with mock.patch.object(server.app[SERVICES].authenticator, "bearer", side_effect=OSError("the disk is gone")):
            await client.send("auth", token=ada.access_token)
            assert await client.next() is None
    assert client.socket.close_code == 1011
    assert "WebSocket handler failed; closing the socket" in caplog.text


async def test_close_before_auth_is_answered(server: Server) -> None:
    """A client that closes gets its own code back."""
    async with connect(server) as client:
        await client.socket.close(code=1000)
        assert client.socket.close_code == 1000


async def test_stopping_service_does_not_wait_for_who_said_nothing() -> None:
    """A socket that may still say who it is holds up the exit for no longer than it takes to close it."""
    async with serve(ws_auth_timeout_s=60, shutdown_timeout_s=10) as server, connect(server) as client:
        began = time.monotonic()
        drain = asyncio.create_task(connections(server).drain(0, 10))
        assert await client.next() is None
        assert client.socket.close_code == 1012
        await drain
        assert time.monotonic() - began < 1 + BUSY_S


# --- After authentication ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="only Linux can keep bytes together")
async def test_handshake_and_hello_are_one_segment(server: Server) -> None:
    """A known client has both at once, and nothing after them is held back."""
    ada = await server.member()
    async with raw_peer(server.port) as peer:
        await peer.upgrade("/v1/ws", f"Authorization: Bearer {ada.access_token}")
        assert json.loads((await read_frame(peer))[1])["type"] == "hello"
        info = peer.tcp_info(_DATA_SEGMENTS_IN + 4)
        assert struct.unpack_from("I", info, _DATA_SEGMENTS_IN) == (1,)
        (connection,) = connections(server)
        ours = connection._transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0


async def test_hello_says_what_a_client_has_to_know(server: Server) -> None:
    """The user, the lifetime, the limits, and the position of the feed."""
    ada = await server.member()
    async with server.request("GET", "/v1/users/me", ada) as answer:
        position = answer.headers["Roster-Position"]
    async with connect(server, ada) as client, connect(server, ada) as other:
        hello = client.hello
        assert hello["connection"] != other.hello["connection"]
    assert hello["user"] == {"id": ada.id, "username": ada.username}
    assert hello["position"] == position
    assert hello["heartbeat_s"] == 25
    assert hello["limits"] == {"message_bytes": 65_536, "messages_per_s": 0, "rooms": 64}
    assert hello["expires_at"].endswith("Z")


async def test_message_of_the_largest_size_passes_and_one_byte_more_does_not(server: Server) -> None:
    """64 KiB, to the byte; over it 1009."""
    ada = await server.member()
    async with connect(server, ada) as client:
        text = json.dumps({"type": "echo", "data": ""})
        fits = "x" * (65_536 - len(text))
        await client.socket.send_str(text.replace('""', f'"{fits}"'))
        assert (await client.expect("echo"))["data"] == fits
        await client.socket.send_str(text.replace('""', f'"{fits}x"'))
        assert await client.next() is None
        assert client.socket.close_code == 1009
    await until(lambda: len(connections(server)) == 0)


async def test_nothing_follows_our_own_close_frame(server: Server) -> None:
    """RFC 6455, 5.5.1: who does not answer is sent nothing more, and what it still says is not carried out."""
    ada, bob = await server.member(), await server.member()
    async with raw_peer(server.port) as peer, connect(server, bob) as client:
        await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
        await read_frame(peer)
        await peer.send(masked(1, b'{"type":"join","room":"lobby"}') + masked(1, b'{"type":"subscribe"}'))
        await client.ask("join", room="lobby")
        await server.json("POST", "/v1/auth/logout", ada, status=204)
        told = []
        while (frame := await read_frame(peer))[0] != 8:
            told.append(json.loads(frame[1])["type"])
        assert told[-2:] == ["event", "closing"]
        assert frame[1] == struct.pack("!H", 4401) + b"session_ended"

        await peer.send(masked(1, b'{"type":"broadcast","room":"lobby","data":"from the grave"}') * 3)
        assert (await client.ask("broadcast", room="lobby", data="alive"))["type"] == "sent"
        assert (await client.until("message"))["data"] == "alive"
        await peer.send(masked(8, struct.pack("!H", 4401)))
        assert await peer.reader.read() == b""
    await until(lambda: len(connections(server)) == 0)


async def test_client_in_full_flood_still_hears_why_it_was_ended() -> None:
    """What it has sent meanwhile does not turn the closing into a reset that takes the reason with it."""
    async with serve(ws_messages_per_s=50) as server:
        ada = await server.member()
        async with raw_peer(server.port) as peer:
            await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
            await peer.send(masked(1, b'{"type":"echo","data":"' + b"x" * 1000 + b'"}') * 3000)
            frame = (0, b"")
            while frame[0] != 8:
                frame = await read_frame(peer)
            assert frame[1] == struct.pack("!H", 4429) + b"too_many_messages"
            await peer.send(masked(8, struct.pack("!H", 4429)))
            assert await peer.reader.read() == b""


@pytest.mark.parametrize(
    ("sent", "answered"), [(b"\x03\xe8", 1000), (b"", 1000), (b"\x0f\xa0bye", 4000), (b"\x03\xee", 1002)]
)
async def test_close_of_the_client_is_answered_in_kind(server: Server, sent: bytes, answered: int) -> None:
    """With its own code; a reserved one is a breach of the protocol (RFC 6455, 7.4.1)."""
    ada = await server.member()
    async with raw_peer(server.port) as peer:
        await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
        await read_frame(peer)
        await peer.send(masked(8, sent))
        opcode, payload = await read_frame(peer)
        assert (opcode, struct.unpack("!H", payload[:2])[0]) == (8, answered)
        assert await peer.is_closed(1)
    await until(lambda: len(connections(server)) == 0)


async def test_command_that_fails_ends_the_socket_and_says_so(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is 1011 with `closing`, never a silent end, and the log has it."""
    ada = await server.member()
    async with connect(server, ada) as client:
        with mock.patch.object(Hub, "lost", side_effect=RuntimeError("a fault")):
            await client.send("subscribe", after="a-1")
            closing, code = await client.closing()
    assert (closing["reason"], code) == ("internal_error", 1011)
    assert "WebSocket command failed; closing the socket" in caplog.text


async def test_lost_client_is_forgotten_at_once(server: Server) -> None:
    """A connection that breaks takes its places in rooms and logs with it."""
    ada, bob = await server.member(), await server.member()
    async with connect(server, ada) as client, connect(server, bob) as other:
        await client.ask("join", room="lobby")
        await client.ask("subscribe")
        await other.ask("join", room="lobby")
        assert client.socket._response.connection is not None
        transport = client.socket._response.connection.transport
        assert transport is not None
        transport.abort()
        await until(lambda: len(connections(server)) == 1)
        while (await other.until("presence"))["count"] == 2:
            pass
    assert list(server.app[SERVICES].hub.live_readers()) == []


async def test_nothing_is_kept_of_a_socket_that_was_lost(server: Server) -> None:
    """Not the response either, which a timer of aiohttp's would keep until its next heartbeat."""

    def kept() -> int:
        gc.collect()
        return len([one for one in gc.get_objects() if isinstance(one, (web.WebSocketResponse, Connection))])

    ada, before = await server.member(), kept()
    for headers in ([f"Authorization: {ada.headers['Authorization']}"], []):
        for path in ("/v1/ws", "/v1/echo"):
            async with raw_peer(server.port) as peer:
                await peer.upgrade(path, *headers)
    await until(lambda: kept() <= before)


async def open_many(stack: AsyncExitStack, server: Server, by: Login, count: int) -> list[Client]:
    return [await stack.enter_async_context(connect(server, by)) for _ in range(count)]


async def test_socket_above_the_bound_is_closed_with_a_reason() -> None:
    """`hello`, `closing`, 4429; feeds count too."""
    async with serve(max_connections_per_user=3) as server, AsyncExitStack() as stack:
        ada, bob = await server.member(), await server.member()
        await open_many(stack, server, ada, 2)
        feed = await stack.enter_async_context(server.feed(ada))
        await feed.expect("hello")
        async with connect(server, ada) as client, connect(server, bob) as other:
            closing, code = await client.closing()
            assert await other.ask("ping") == {"type": "pong"}
    assert (closing["reason"], code) == ("too_many_connections", 4429)
    assert closing["reconnect_after_ms"] >= 250


async def test_stopping_service_closes_every_socket() -> None:
    """`closing` with a hint when to come back, then 1012; the exit does not wait for more than the answers."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve())
        ada = await server.member()
        clients = await open_many(stack, server, ada, 20)
        drain = asyncio.create_task(connections(server).drain(0, 5))
        endings = [await client.closing() for client in clients]
        await asyncio.wait_for(drain, 1)
        async with connect(server, ada) as late:
            assert (await late.closing())[1] == 1012
    assert {(closing["reason"], code) for closing, code in endings} == {("restart", 1012)}
    assert len({closing["reconnect_after_ms"] for closing, _ in endings}) > 10


async def test_heartbeats_of_the_protocol_are_answered(server: Server) -> None:
    """A ping frame is answered with a pong of the same payload, as RFC 6455, 5.5.3 asks."""
    ada = await server.member()
    async with raw_peer(server.port) as peer:
        await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
        await read_frame(peer)
        await peer.send(masked(9, b"are you there"))
        assert await read_frame(peer) == (10, b"are you there")


async def test_peer_that_answers_no_ping_is_let_go() -> None:
    """A half-open connection is found out by heartbeat and gives back its place."""
    async with serve(ws_heartbeat_s=0.1) as server:
        ada = await server.member()
        async with raw_peer(server.port) as peer:
            await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
            await read_frame(peer)
            assert (await read_frame(peer))[0] == 9
            await until(lambda: len(connections(server)) == 0)


async def test_messages_of_other_types_are_not_lost_in_a_burst(server: Server) -> None:
    """A client that sends thousands of frames at once gets every answer, in order, and others are served meanwhile."""
    ada, bob = await server.member(), await server.member()
    async with raw_peer(server.port) as peer, connect(server, bob) as other:
        await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
        await read_frame(peer)
        burst = b"".join(masked(1, b'{"type":"echo","data":%d}' % number) for number in range(3000))
        sending = asyncio.create_task(peer.send(burst))
        began = time.process_time()  # of the service and of both clients, which are this process
        assert await other.ask("ping") == {"type": "pong"}
        assert time.process_time() - began < 0.5
        answers = [json.loads((await read_frame(peer))[1])["data"] for _ in range(3000)]
        await sending
    assert answers == list(range(3000))


async def test_reading_stops_while_a_client_does_not_read() -> None:
    """Its own answers fill its own socket; it is not read from until they are taken, and nothing of them is lost."""
    async with serve(send_buffer=16_384) as server:
        ada = await server.member()
        async with raw_peer(server.port, receive_buffer=1024, send_buffer=16_384, limit=1 << 30) as peer:
            await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
            await read_frame(peer)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            text = b'{"type":"echo","data":"' + b"x" * 60_000 + b'"}'
            count = 200
            sending = asyncio.create_task(peer.send(masked(1, text) * count))
            (connection,) = connections(server)
            await until(lambda: connection.is_full)
            await asyncio.sleep(0.05)  # what is not read now is not read
            assert connection.buffered_bytes < 3 * 65_536
            assert not sending.done()
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            sizes = {len((await read_frame(peer))[1]) for _ in range(count)}
            await sending
    assert len(sizes) == 1


async def test_stalled_socket_is_ended_and_its_memory_given_back() -> None:
    """4408 is queued after `slow_client_timeout_s`; five seconds later the connection is torn down with all that lies in its buffer."""
    async with serve(send_buffer=16_384, slow_client_timeout_s=0.2) as server:
        ada, bob = await server.member(), await server.member()
        async with raw_peer(server.port, receive_buffer=1024) as peer, connect(server, bob) as other:
            await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
            await read_frame(peer)
            await peer.send(masked(1, b'{"type":"join","room":"lobby"}'))
            await read_frame(peer)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            await other.ask("join", room="lobby")
            stalled = next(one for one in connections(server) if one.principal.user == ada.id)
            while not stalled.is_full:
                await other.ask("broadcast", room="lobby", data="x" * 60_000)
            began = time.monotonic()
            for number in range(20):
                await other.ask("broadcast", room="lobby", data=number)
            assert time.monotonic() - began < 1 + BUSY_S
            await until(lambda: stalled.ending, timeout=2 + BUSY_S)
            assert stalled.ending is not None
            assert stalled.ending.code == 4408
            connections(server).check(time.monotonic() + 0.1, time.time())
            connections(server).check(time.monotonic() + 6, time.time())  # five seconds later, without waiting for them
            await until(lambda: len(connections(server)) == 1)
            assert stalled.buffered_bytes == 0
            room = server.app[SERVICES].rooms.held.get("lobby")
            assert room is not None
            assert len(list(room.live_readers())) == 1


async def test_socket_closed_by_the_client_with_a_full_buffer_is_torn_down() -> None:
    """A client that says goodbye without reading leaves neither memory nor an open descriptor."""
    async with serve(send_buffer=16_384) as server:
        ada, bob = await server.member(), await server.member()
        async with raw_peer(server.port, receive_buffer=1024) as peer, connect(server, bob) as other:
            await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
            await read_frame(peer)
            await peer.send(masked(1, b'{"type":"join","room":"lobby"}'))
            await read_frame(peer)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
            await other.ask("join", room="lobby")
            stalled = next(one for one in connections(server) if one.principal.user == ada.id)
            while not stalled.is_full:
                await other.ask("broadcast", room="lobby", data="x" * 60_000)
            await peer.send(masked(8, struct.pack("!H", 1000)))
            await until(lambda: len(connections(server)) == 1)
            assert stalled.buffered_bytes
            await until(lambda: stalled.buffered_bytes == 0)
            assert (await other.ask("broadcast", room="lobby", data="on"))["type"] == "sent"


async def test_many_sockets_see_a_burst_in_order(server: Server) -> None:
    """Fifty members of a room and fifty followers of the feed get everything, once, in order, whatever the writer."""
    admin = await server.admin()
    async with AsyncExitStack() as stack:
        clients = await open_many(stack, server, admin, 50)
        for client in clients:
            await client.ask("join", room="lobby")
            await client.ask("subscribe")
        start = int(server.app[SERVICES].hub.ring.head)

        async def write() -> None:
            for number in range(40):
                await server.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": f"name {number}"})

        async def speak(client: Client, number: int) -> None:
            for part in range(10):
                await client.send("broadcast", room="lobby", data=[number, part])

        async def listen(client: Client) -> tuple[list[int], list[str]]:
            events: list[int] = []
            messages: list[str] = []
            while len(events) < 40 or len(messages) < 50:
                frame = await client.next(20)
                assert frame is not None
                if frame["type"] == "event":
                    events.append(int(frame["event"]["id"].rpartition("-")[2]))
                elif frame["type"] == "message":
                    messages.append(frame["id"])
            return events, messages

        listening = asyncio.gather(*(listen(client) for client in clients))
        await asyncio.gather(write(), *(speak(client, number) for number, client in enumerate(clients[:5])))
        heard = await listening
    room = heard[0][1][0].rpartition("-")[0]
    assert all(events == list(range(start + 1, start + 41)) for events, _ in heard)
    assert all(messages == [f"{room}-{number}" for number in range(1, 51)] for _, messages in heard)


async def test_frames_of_the_client_may_come_in_pieces(server: Server) -> None:
    """Fragments and half-sent frames are put together as RFC 6455, 5.4 says."""
    ada = await server.member()
    async with raw_peer(server.port) as peer:
        await peer.upgrade("/v1/ws", f"Authorization: {ada.headers['Authorization']}")
        await read_frame(peer)
        whole = bytearray(masked(1, b'{"type":"echo",') + masked(0, b'"data":1}'))
        whole[0] &= 0x7F  # not the last fragment
        for byte in whole:
            await peer.send(bytes((byte,)))
        opcode, payload = await read_frame(peer)
    assert (opcode, json.loads(payload)) == (WSMsgType.TEXT, {"type": "echo", "data": 1})
