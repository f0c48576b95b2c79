"""Request heads that arrive in pieces: bounded in bytes, in time and in number, without harm to legitimate ones."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, suppress

import pytest

from service.server import peers
from service.server.http_protocol import HttpProtocol
from tests.support.hostile import HOST, assert_serves, exchange, message
from tests.support.peer import Answer, RawPeer, raw_peer
from tests.support.server import Server, serve
from tests.support.wait import until

START = f"GET /health/live HTTP/1.1\r\n{HOST}\r\n"


async def send_pieces(peer: RawPeer, data: bytes, size: int = 1_000) -> None:
    for start in range(0, len(data), size):
        await peer.send(data[start : start + size])
        await asyncio.sleep(0)  # a segment of its own


async def is_closed(peer: RawPeer) -> bool:
    try:
        return await asyncio.wait_for(peer.reader.read(), 5) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("size", [1_000, 200_000])
async def test_half_sent_head_is_refused_at_32_kib(server: Server, size: int) -> None:
    """A head of more than 32 KiB is answered with 431 while it arrives, however it is cut, and the connection is closed."""
    head = START.encode() + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8_000) for number in range(6))
    async with raw_peer(server.port) as peer:
        await send_pieces(peer, head[:33_500], size)  # bytes that arrive after the refusal could reset the connection
        assert (await peer.answer()).status == 431
        assert await is_closed(peer)
    await assert_serves(server)


async def test_head_after_another_request_is_counted(server: Server) -> None:
    """A half-sent head in the same piece as a whole request is counted: the request is answered, then 431."""
    data = message() + START.encode() + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8_000) for number in range(8))
    async with raw_peer(server.port) as peer:
        await peer.send(data)
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).status == 431


async def test_head_has_a_deadline() -> None:
    """A head that is not complete in time is answered with 408, although each byte comes soon after the last one."""
    async with serve(head_timeout_s=0.1) as server, raw_peer(server.port) as peer:

        async def drip() -> None:
            for byte in START * 100:
                await peer.send(byte)
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert (await peer.answer()).status == 408
        assert await is_closed(peer)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        await assert_serves(server)


async def test_65_fields_are_refused_and_64_are_taken(server: Server) -> None:
    """A head has 64 fields at most."""
    fields = [f"X-{number}: a" for number in range(64)]

    assert (await exchange(server, message("GET", "/health/live", *fields))).status == 400
    assert (await exchange(server, message("GET", "/health/live", *fields[:63]))).status == 200


@pytest.mark.parametrize("cut", [300, 4_096, 100_000])
async def test_large_legitimate_heads_are_taken(server: Server, cut: int) -> None:
    """A bearer token of 6 KB beside a cookie of 8 KB is read, in any pieces, again and again on one connection."""
    token, cookie = "Authorization: Bearer " + "a" * 6_000, "Cookie: c=" + "b" * 8_000
    async with raw_peer(server.port) as peer:
        for _ in range(4):
            await send_pieces(peer, message("GET", "/health/live", token, cookie), cut)
            assert (await peer.answer()).status == 200


async def test_pipelined_requests_are_all_answered(server: Server) -> None:
    """Two hundred large requests in one piece are answered in order, although four at most are queued."""
    async with raw_peer(server.port) as peer:
        await peer.send(message("GET", "/health/live", "Cookie: c=" + "b" * 2_000) * 200)
        assert [(await peer.answer()).status for _ in range(200)] == [200] * 200


async def test_queue_of_pipelined_requests_is_short(server: Server) -> None:
    """Of the requests that a client sends after a stream has begun four are parsed; the rest waits in the client's system."""
    admin = await server.admin()
    stream = message("GET", "/v1/feed", f"Authorization: Bearer {admin.access_token}")
    large = message("GET", "/health/live", *(f"X-{number}: {'a' * 7_000}" for number in range(4)))

    def find_paused() -> list[HttpProtocol]:
        return [found for found in gc.get_objects() if isinstance(found, HttpProtocol) and found._buffer_paused]

    async with raw_peer(server.port) as peer:
        await peer.send(stream + large * 20)
        await until(find_paused)
        assert [len(paused._messages) <= 4 for paused in find_paused()] == [True]


async def test_requests_after_a_late_body_are_all_answered(server: Server) -> None:
    """Forty requests in one piece with the end of a body, whose request has begun before, are all answered."""
    async with raw_peer(server.port) as peer:
        await peer.announce("/v1/auth/login", 2)
        await peer.send(b"{}" + message() * 40)
        assert [(await peer.answer()).status for _ in range(41)] == [422] + [200] * 40


async def test_pipelined_small_requests_and_bodies_are_all_answered(server: Server) -> None:
    """Many small requests, some with bodies larger than a piece, are answered in order however their bytes are cut."""
    body = b'{"login":"ada","password":"' + b"x" * 9_000 + b'"}'
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    data = (message() * 50 + message("POST", "/v1/auth/login", *fields, body=body)) * 4
    for size in (777, len(data)):
        async with raw_peer(server.port) as peer:
            await send_pieces(peer, data, size)
            assert [(await peer.answer()).status for _ in range(204)] == ([200] * 50 + [422]) * 4


async def test_body_is_no_head(server: Server) -> None:
    """A body of any size in pieces is not counted as a head, nor is the request after it."""
    admin = await server.admin()
    body = b'{"name":"' + b"a" * 100_000 + b'"}'
    fields = (f"Authorization: Bearer {admin.access_token}", "Content-Type: application/json")
    request = message("POST", "/v1/users", *fields, f"Content-Length: {len(body)}", body=body)
    async with raw_peer(server.port) as peer:
        await send_pieces(peer, request + message(), 9_000)
        assert (await peer.answer()).status == 422
        assert (await peer.answer()).status == 200


async def test_trailers_are_refused_at_32_kib(server: Server) -> None:
    """Trailers, which a parser keeps like a head, end the connection at 32 KiB; short ones and a body in tiny chunks do not."""
    head = message("POST", "/v1/auth/login", "Content-Type: application/json", "Transfer-Encoding: chunked")
    body = b"".join(b"1\r\n%c\r\n" % sign for sign in b'{"login":"ada","password":"%s"}' % (b"x" * 9_000))
    async with raw_peer(server.port) as peer:
        await send_pieces(peer, head + body + b"0\r\nX-Sum: a\r\n\r\n" + message())
        assert (await peer.answer()).status == 422
        assert (await peer.answer()).status == 200
    async with raw_peer(server.port) as peer:
        trailers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8_000) for number in range(6))
        with suppress(ConnectionError):
            await send_pieces(peer, head + b"2\r\n{}\r\n0\r\n" + trailers, 4_000)
        assert await peer.is_closed(2)
    await assert_serves(server)


async def test_what_follows_a_declined_upgrade_is_not_read(server: Server) -> None:
    """An upgrade that is declined ends the connection, so that no head after it escapes the bounds."""
    upgrade = message("GET", "/health/live", "Connection: Upgrade", "Upgrade: websocket")
    async with raw_peer(server.port) as peer:
        await peer.send(upgrade + START.encode() + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8_000) for n in range(30)))
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await peer.is_closed(2)


async def connect(stack: AsyncExitStack, server: Server, data: str) -> RawPeer:
    peer = await stack.enter_async_context(raw_peer(server.port))
    await peer.send(data)
    return peer


async def test_half_sent_heads_of_a_network_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Over the bound a half-sent head ends its connection; whole requests of the same network are served."""
    monkeypatch.setattr(peers, "MOST_HALF_SENT_HEADS", 3)
    async with serve() as server, AsyncExitStack() as stack:
        held = [await connect(stack, server, START) for _ in range(6)]

        async def ended() -> bool:
            return sum(peer.reader.at_eof() for peer in held) == 3

        await until(ended)
        await assert_serves(server)
        await held[0].send("\r\n")
        assert (await held[0].answer()).status == 200
        await connect(stack, server, START)  # the place is free again
    lines = [record for record in caplog.records if "half-sent" in record.message]
    assert len(lines) == 1


async def test_connections_of_a_network_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Over `ROSTER_CONNECTIONS_PER_NETWORK` new connections are closed, with one line; a trusted proxy has no bound."""
    async with serve(connections_per_network=2) as server, AsyncExitStack() as stack:
        held = [await connect(stack, server, "") for _ in range(2)]
        assert await is_closed(await connect(stack, server, ""))
        assert await is_closed(await connect(stack, server, ""))
        held[0].writer.transport.abort()

        async def answered() -> Answer | None:
            return (await exchange(server, message())).answer

        await until(answered)
    assert [record.message for record in caplog.records].count(
        "too many connections of one network; new ones are closed"
    ) == 1
    async with serve(connections_per_network=1, trusted_proxies=("127.0.0.0/8",)) as server, AsyncExitStack() as stack:
        for _ in range(3):
            await connect(stack, server, "")
        await assert_serves(server)
