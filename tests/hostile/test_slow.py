"""Clients that send little, slowly, or far too much: each is disconnected at its limit, and affects no other."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from service.http.services import SERVICES
from tests.support.gunicorn import gunicorn
from tests.support.hostile import HOST, PROBE, Outcome, assert_serves, exchange, message
from tests.support.peer import RawPeer, raw_peer
from tests.support.server import Login, Server, serve
from tests.support.wait import BUSY_S

KEEPALIVE_S = 0.3
BODY_TIMEOUT_S = 0.3
HEARTBEAT_S = 0.2
MOST = 20_000

BODY = json.dumps({"login": "absent", "password": "x"})


@pytest.fixture(scope="module")
async def impatient() -> AsyncIterator[Server]:
    """A service with short timeouts."""
    async with serve(
        keepalive_s=KEEPALIVE_S, body_timeout_s=BODY_TIMEOUT_S, ws_heartbeat_s=HEARTBEAT_S, max_body_bytes=MOST
    ) as running:
        yield running


def login(*headers: str, body: str | bytes = b"") -> bytes:
    return message("POST", "/v1/auth/login", "Content-Type: application/json", *headers, body=body)


async def drip(peer: RawPeer, data: bytes, every_s: float) -> None:
    """Send a byte now and then, for as long as the other side takes them."""
    try:
        for byte in data:
            await peer.send(bytes((byte,)))
            await asyncio.sleep(every_s)
    except ConnectionError:
        pass


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /hea", id="half a line"),
        pytest.param(f"GET /health/live HTTP/1.1\r\n{HOST}\r\nX-A: ".encode(), id="half of the headers"),
    ],
)
async def test_connection_without_a_request_is_closed(impatient: Server, said: bytes) -> None:
    """A connection on which no whole request arrives is closed within the keep-alive time."""
    async with raw_peer(impatient.port) as peer:
        began = time.monotonic()
        await peer.send(said)
        assert await peer.is_closed(KEEPALIVE_S + BUSY_S)
        took = time.monotonic() - began

    assert took >= KEEPALIVE_S / 2
    await assert_serves(impatient)


async def test_headers_that_drip_are_closed(impatient: Server) -> None:
    """A byte now and then does not keep a connection open that has sent no whole request."""
    async with raw_peer(impatient.port) as peer:
        dripping = asyncio.create_task(drip(peer, b"GET / HTTP/1.1\r\n" + b"X" * 200, KEEPALIVE_S / 10))
        assert await peer.is_closed(KEEPALIVE_S + BUSY_S)
        await dripping
    await assert_serves(impatient)


async def test_idle_connection_is_closed_after_its_time(impatient: Server) -> None:
    """A connection that was served stays open for the keep-alive time and is closed after it."""
    async with raw_peer(impatient.port) as peer:
        await peer.send(PROBE)
        await peer.answer()
        served = time.monotonic()
        assert await peer.is_closed(KEEPALIVE_S + BUSY_S)

    assert time.monotonic() - served >= 0.9 * KEEPALIVE_S


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_body_that_does_not_come_is_408(impatient: Server, framing: str) -> None:
    """Headers without their body are answered 408 in time, and nothing more is read from that connection."""
    async with raw_peer(impatient.port) as peer:
        await peer.send(login(framing, body="2\r\n{ \r\n" if "chunked" in framing else "{"))
        began = time.monotonic()
        answer = await peer.answer(BODY_TIMEOUT_S + BUSY_S)
        took = time.monotonic() - began
        # Its end, so that the server has nothing to wait for, and a request that must not be read.
        await peer.send(b"0\r\n\r\n" if "chunked" in framing else b" " * 99)
        await peer.send(PROBE)
        assert await peer.reader.read() == b""

    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.body)["type"] == "/problems/request-timeout"
    assert 0.9 * BODY_TIMEOUT_S <= took < BODY_TIMEOUT_S + BUSY_S
    await assert_serves(impatient)


async def test_body_that_drips_is_408(impatient: Server) -> None:
    """The time is that of the whole body: a byte now and then does not extend it."""
    async with raw_peer(impatient.port) as peer:
        await peer.send(login("Content-Length: 200"))
        dripping = asyncio.create_task(drip(peer, b" " * 200, BODY_TIMEOUT_S / 20))
        answer = await peer.answer(BODY_TIMEOUT_S + BUSY_S)
        dripping.cancel()

    assert answer.status == 408
    await assert_serves(impatient)


async def test_slow_bodies_delay_no_other(target: Server) -> None:
    """While a hundred bodies do not come, others are served at once."""
    async with AsyncExitStack() as stack:
        for _ in range(100):
            peer = await stack.enter_async_context(raw_peer(target.port))
            await peer.send(login("Content-Length: 100", body="{"))
        async with asyncio.timeout(1.0):
            await assert_serves(target)


@pytest.mark.gunicorn
async def test_more_connections_than_descriptors_end_no_other() -> None:
    """A client that opens more idle connections than the process may have affects new clients, and no open connection: those
    are served on, and everybody is again once the idle ones have had their time. One line of the log says so."""
    async with gunicorn(ROSTER_KEEPALIVE_S="2") as service, AsyncExitStack() as stack:
        good = await stack.enter_async_context(raw_peer(service.server.port))
        await assert_serves(service.server)  # so there is a worker
        resource.prlimit(service.worker, resource.RLIMIT_NOFILE, (service.descriptors() + 50,) * 2)
        idle = []
        for _ in range(6):
            idle += [await stack.enter_async_context(raw_peer(service.server.port)) for _ in range(50)]
            await good.send(PROBE)
            assert (await good.answer()).status == 200
        assert (await exchange(service.server, PROBE)).answer is None

        assert all([await peer.is_closed(10) for peer in idle])
        await assert_serves(service.server)
        assert "Traceback" not in service.log()
        assert service.log().count("file descriptors exhausted") == 1


async def test_silent_websocket_is_closed(impatient: Server) -> None:
    """A WebSocket whose peer answers no ping is closed within two heartbeats."""
    async with raw_peer(impatient.port) as peer:
        assert (await peer.upgrade("/v1/echo")).status == 101
        began = time.monotonic()
        assert await peer.is_closed(2 * HEARTBEAT_S + BUSY_S)

    assert time.monotonic() - began < 2 * HEARTBEAT_S + BUSY_S
    await assert_serves(impatient)


def _chunked(data: bytes, size: int = 4096) -> bytes:
    pieces = (data[place : place + size] for place in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _json(size: int) -> bytes:
    filler = size - len(BODY)
    return BODY.encode() + b" " * filler


async def as_admin(server: Server, data: bytes) -> bytes:
    """The same body for an operation that needs credentials; public ones have bounds of their own."""
    token = (await server.admin()).access_token.encode()
    return data.replace(
        b"POST /v1/auth/login HTTP/1.1\r\n", b"POST /v1/users HTTP/1.1\r\nAuthorization: Bearer %b\r\n" % token, 1
    )


def encoded(coding: str, data: bytes) -> bytes:
    return login(f"Content-Encoding: {coding}", f"Content-Length: {len(data)}", body=data)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(422, login(f"Content-Length: {MOST}", body=_json(MOST)), id="all that is allowed"),
        pytest.param(422, login("Transfer-Encoding: chunked", body=_chunked(_json(MOST))), id="the same in chunks"),
        pytest.param(413, login("Transfer-Encoding: chunked", body=_chunked(_json(MOST + 1))), id="one more in chunks"),
        pytest.param(422, encoded("gzip", gzip.compress(_json(MOST))), id="the same in gzip"),
        pytest.param(413, encoded("gzip", gzip.compress(_json(MOST + 1))), id="one more in gzip"),
        pytest.param(422, encoded("GZip", gzip.compress(_json(100))), id="gzip in another case"),
        pytest.param(422, encoded("deflate", zlib.compress(_json(100))), id="deflate"),
        pytest.param(422, encoded("identity", _json(100)), id="identity"),
        pytest.param(400, encoded("gzip", _json(100)), id="gzip that is none"),
        pytest.param(400, encoded("deflate", _json(100)), id="deflate that is none"),
        pytest.param(400, encoded("gzip", gzip.compress(_json(4000))[:20]), id="gzip that breaks off"),
        pytest.param(415, encoded("foo", _json(100)), id="unknown coding"),
        pytest.param(415, encoded("gzip, gzip", gzip.compress(gzip.compress(_json(100)))), id="gzip twice"),
        pytest.param(
            415,
            login(
                "Content-Encoding: gzip",
                "Content-Encoding: gzip",
                f"Content-Length: {len(gzip.compress(gzip.compress(_json(100))))}",
                body=gzip.compress(gzip.compress(_json(100))),
            ),
            id="gzip twice in two headers",
        ),
    ],
)
async def test_size_and_coding_of_a_body(impatient: Server, status: int, data: bytes) -> None:
    """A body counts as it is when its coding is undone; what cannot be undone is 400, what is not known 415."""
    outcome = await exchange(impatient, await as_admin(impatient, data))

    assert outcome.status == status
    if status == 415:
        assert outcome.answer is not None
        assert outcome.answer.headers["accept-encoding"] == "gzip, deflate"
    await assert_serves(impatient)


async def test_length_above_the_limit_is_413_before_the_body(impatient: Server) -> None:
    """One byte more than is allowed, announced, is refused without any of them."""
    async with raw_peer(impatient.port) as peer:
        await peer.send(login(f"Content-Length: {MOST + 1}"))
        answer = await peer.answer(1.0)

    assert answer.status == 413
    await assert_serves(impatient)


async def test_gzip_bomb_is_413_in_little_memory(impatient: Server) -> None:
    """Fifty megabytes in fifty kilobytes are refused where they pass the limit, not where they end."""
    bomb = gzip.compress(b" " * 50_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    request = login("Content-Encoding: gzip", "Transfer-Encoding: chunked", body=_chunked(bomb))
    outcomes = [await exchange(impatient, await as_admin(impatient, request)) for _ in range(3)]
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert {outcome.status for outcome in outcomes} == {413}
    assert grown_kib < 20_000
    await assert_serves(impatient)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        pytest.param("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(2000)), id="form"),
        pytest.param(
            "multipart/form-data; boundary=x", "--x\r\n\r\na\r\n" * 1000 + "--x--\r\n", id="multipart of 1,000"
        ),
        pytest.param("multipart/form-data", "--\r\n", id="multipart without a boundary"),
    ],
)
async def test_forms_are_415_unread(impatient: Server, media_type: str, body: str) -> None:
    """No form is read anywhere: its fields are not even counted."""
    data = message("POST", "/v1/auth/login", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", body=body)

    assert (await exchange(impatient, data)).status == 415
    await assert_serves(impatient)


async def test_parameters_are_counted_and_stand_once(impatient: Server) -> None:
    """More than fifty query parameters, or one that stands twice, are 400."""
    admin = await impatient.admin()
    bearer = f"Authorization: Bearer {admin.access_token}"
    many = "&".join(f"a{number}=" for number in range(900))

    statuses = {
        query: (await exchange(impatient, message("GET", f"/v1/users?{query}", bearer))).status
        for query in ("limit=1", "limit=1&limit=2", "limit=1&limit=1", "&" * 50, "&" * 3500, many)
    }

    assert statuses.pop("limit=1") == 200
    assert set(statuses.values()) == {400}


async def test_flood_is_429_with_when_to_come_back() -> None:
    """Above the limit an address gets a retry time and nothing of the request is kept; health and others are not affected."""
    async with serve(rate_limit="5/minute", trusted_proxies=("127.0.0.0/8",)) as server:

        async def ask(client: str, path: str = "/v1/users/me") -> Outcome:
            return await exchange(server, message("GET", path, f"X-Forwarded-For: {client}"))

        served = [(await ask("192.0.2.1")).status for _ in range(5)]
        refused = [await ask("192.0.2.1") for _ in range(3)]
        bearer = "Authorization: Bearer x"
        guess = await exchange(server, message("GET", "/v1/users/me", "X-Forwarded-For: 192.0.2.1", bearer))
        health = await ask("192.0.2.1", "/health/live")
        other = await ask("192.0.2.2")
        flooded = [await ask(f"2001:db8::{number:x}") for number in range(6)]

    assert served == [401] * 5
    for outcome in refused:
        assert outcome.answer is not None
        assert outcome.status == 429
        assert 1 <= int(outcome.answer.headers["retry-after"]) <= 60
        assert outcome.answer.headers["cache-control"] == "no-store"
    assert (guess.status, health.status, other.status) == (429, 200, 401)
    # One subscriber has 2^64 addresses: they count together.
    assert [outcome.status for outcome in flooded] == [401] * 5 + [429]


# --- Bodies that outlive their sender's rights ------------------------------------------------------------------------


async def _log_out(server: Server, by: Login, _: Login) -> None:
    async with server.request("POST", "/v1/auth/logout", by) as answer:
        assert answer.status == 204


async def _change(server: Server, of: Login, admin: Login, **fields: object) -> None:
    await server.json("PATCH", f"/v1/users/{of.id}", admin, json=fields)


async def _demote(server: Server, of: Login, admin: Login) -> None:
    await _change(server, of, admin, role="member")


async def _deactivate(server: Server, of: Login, admin: Login) -> None:
    await _change(server, of, admin, active=False)


async def _delete(server: Server, of: Login, admin: Login) -> None:
    async with server.request("DELETE", f"/v1/users/{of.id}", admin) as answer:
        assert answer.status == 204


@pytest.mark.parametrize("end", [_log_out, _demote, _deactivate, _delete])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/users", {"username": "backdoor", "email": "backdoor@example.com", "role": "admin"}),
        ("PATCH", "/v1/users/{victim}", {"role": "admin"}),
        ("POST", "/v1/rooms/lobby/messages", {"data": "ghost"}),
        ("POST", "/v1/rooms/admin.ops/messages", {"data": "ghost"}),
    ],
)
async def test_body_that_ends_after_the_rights_of_its_sender_does_nothing(
    server: Server,
    method: str,
    path: str,
    body: dict[str, object],
    end: Callable[[Server, Login, Login], Awaitable[None]],
) -> None:
    """A client that holds back the last byte until its access is revoked gets 401, and nothing is written."""
    admin, mallory, victim = await server.admin(), await server.member(), await server.member()
    await _change(server, mallory, admin, role="admin")
    mallory = await server.log_in(mallory.username)
    data = json.dumps(body).encode()
    expecting = ("Content-Type: application/json", "Expect: 100-continue")
    async with raw_peer(server.port) as peer:
        headers = (f"Authorization: Bearer {mallory.access_token}", f"Content-Length: {len(data)}")
        request = message(method, path.replace("{victim}", victim.id), *headers, *expecting)
        await peer.send(request + data[:-1])
        assert (await peer.answer()).status == 100  # its credentials are looked at in the same turn
        await end(server, mallory, admin)
        before = server.app[SERVICES].hub.head
        await peer.send(data[-1:])
        answer = await peer.answer()
    assert (answer.status, json.loads(answer.body)["type"]) == (401, "/problems/invalid-token")
    assert server.app[SERVICES].hub.head == before
    assert not len(server.app[SERVICES].rooms)
