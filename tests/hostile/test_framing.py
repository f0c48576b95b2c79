"""Framing and syntax of HTTP/1.1 (RFC 9112): ambiguous input is refused, and nothing after it is read.

Input that aiohttp's parser refuses gets its plain 400; the guards answer with a problem document.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from tests.support.hostile import HOST, PROBE, Outcome, assert_serves, exchange, message
from tests.support.peer import raw_peer
from tests.support.server import Server, serve

CHUNKED = "Transfer-Encoding: chunked"
BODY = '{"login":"absent","password":"x"}'
LENGTH = f"Content-Length: {len(BODY)}"
SIZE = f"{len(BODY):x}"
CHUNKS = f"{SIZE}\r\n{BODY}\r\n0\r\n\r\n"

# The answer to a body that was read as intended: the login does not exist.
READ = 401


def login(*headers: str, body: str | bytes = CHUNKS, version: str = "HTTP/1.1") -> bytes:
    return message("POST", "/v1/auth/login", "Content-Type: application/json", *headers, body=body, version=version)


def rows(**table: bytes) -> list[object]:
    return [pytest.param(data, id=name) for name, data in table.items()]


def says_problem(outcome: Outcome, status: int) -> bool:
    answer = outcome.answer
    return (
        answer is not None
        and answer.status == status
        and answer.headers["content-type"] == "application/problem+json"
        and json.loads(answer.body)["status"] == status
    )


@pytest.mark.parametrize(
    "data",
    rows(
        length_and_chunked=login(LENGTH, CHUNKED),
        chunked_then_identity=login(CHUNKED, "Transfer-Encoding: identity"),
        chunked_twice=login(CHUNKED, CHUNKED),
        chunked_not_last=login("Transfer-Encoding: chunked, identity"),
        unknown_coding=login("Transfer-Encoding: xchunked"),
        coding_behind_a_vertical_tab=login("Transfer-Encoding: \x0bchunked"),
        space_before_the_colon=login("Transfer-Encoding : chunked"),
        two_lengths=login(LENGTH, "Content-Length: 3", body=BODY),
        the_same_length_twice=login(LENGTH, LENGTH, body=BODY),
        length_with_sign=login("Content-Length: +5", body=BODY),
        length_below_zero=login("Content-Length: -1", body=BODY),
        length_in_hex=login("Content-Length: 0x5", body=BODY),
        length_with_underscore=login("Content-Length: 1_0", body=BODY),
        length_empty=login("Content-Length: ", body=BODY),
        length_in_arabic_digits=login("Content-Length: \xd9\xa1", body=BODY),
        length_beyond_64_bits=login("Content-Length: 1" + "0" * 23, body=BODY),
        chunk_size_of_letters=login(CHUNKED, body="zz\r\n" + BODY),
        chunk_size_with_prefix=login(CHUNKED, body="0x5\r\n" + BODY),
        chunk_size_below_zero=login(CHUNKED, body="-5\r\n" + BODY),
        chunk_size_beyond_64_bits=login(CHUNKED, body="F" * 17 + "\r\n" + BODY),
        chunks_with_bare_lf=login(CHUNKED, body=CHUNKS.replace("\r\n", "\n")),
        chunk_extension_with_lf=login(CHUNKED, body=f"{SIZE};a\nb\r\n{BODY}\r\n0\r\n\r\n"),
        chunk_without_its_end=login(CHUNKED, body=f"{SIZE}\r\n{BODY}0\r\n\r\n"),
        length_in_the_trailer=login(CHUNKED, body=f"{SIZE}\r\n{BODY}\r\n0\r\nContent-Length: 5\r\n\r\n"),
        trailer_of_2000_fields=login(CHUNKED, body=f"{SIZE}\r\n{BODY}\r\n0\r\n" + "X: a\r\n" * 2000 + "\r\n"),
        bare_lf=message().replace(b"\r\n", b"\n"),
        bare_cr_in_a_value=message("GET", "/health/live", "X-A: a\rb"),
        folded_value=message("GET", "/health/live", "X-A: a\r\n b"),
        nul_in_a_value=message("GET", "/health/live", "X-A: a\0b"),
        control_in_a_value=message("GET", "/health/live", "X-A: a\x01b"),
        name_that_is_no_token=message("GET", "/health/live", "X@A: b"),
        empty_name=message("GET", "/health/live", ": b"),
        no_colon=message("GET", "/health/live", "Xab"),
        space_before_the_first_header=message(host=" " + HOST),
        no_host=message(host=None),
        two_hosts=message("GET", "/health/live", "Host: other.example"),
        the_same_host_twice=message("GET", "/health/live", HOST),
        target_of_an_asterisk=message("GET", "*"),
        target_of_an_authority=message("GET", "evil.example:80"),
        target_with_an_open_bracket=message("GET", "http://[/"),
        target_with_a_port_beyond_16_bits=message("GET", "http://a:99999/"),
        target_without_a_slash=message("GET", "?x"),
        target_in_raw_utf8=message("GET", "/v1/\xc3\xa9"),
        target_with_a_raw_byte=message("GET", "/v1/\xff"),
        target_with_a_space=message("GET", "/v1/a b"),
        method_in_lower_case=message("get"),
        method_of_5000_letters=message("A" * 5000),
        unknown_method=message("BREW"),
        version_1_2=message(version="HTTP/1.2"),
        version_1_10=message(version="HTTP/1.10"),
        preface_of_http_2=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        tls_hello=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
        line_of_9_kilobytes=message("GET", "/" + "a" * 9000),
        line_of_64_kilobytes=message("GET", "/" + "a" * 65536),
        header_of_9_kilobytes=message("GET", "/health/live", "X-A: " + "a" * 9000),
        header_of_64_kilobytes=message("GET", "/health/live", "X-A: " + "a" * 65536),
        headers_200=message("GET", "/health/live", *(f"X-{number}: a" for number in range(200))),
    ),
)
async def test_what_the_parser_refuses_is_400_and_ends_the_connection(target: Server, data: bytes) -> None:
    """A message that the parser cannot read is answered 400, in plain text without a version, and nothing after it is
    read."""
    outcome = await exchange(target, data)

    assert outcome.status == 400
    assert outcome.answer is not None
    assert outcome.answer.headers["server"] == "roster"
    assert not outcome.goes_on
    await assert_serves(target)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(501, login("Transfer-Encoding: gzip, chunked"), id="gzip under chunked"),
        pytest.param(501, login("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), id="gzip under no chunks"),
        pytest.param(400, message(version="HTTP/2.0"), id="version 2.0"),
        pytest.param(400, b"GET /health/live\r\n\r\n", id="version 0.9"),
        pytest.param(400, message(host="Host: a b@c/"), id="Host with a space and an at"),
        pytest.param(400, message(host="Host: "), id="Host empty"),
        pytest.param(400, message(host="Host: user@127.0.0.1"), id="Host with a user"),
        pytest.param(400, message(host="Host: a,b"), id="Host of two"),
        pytest.param(400, message(host="Host: [::1"), id="Host with an open bracket"),
        pytest.param(400, message(host="Host: \xff"), id="Host of a raw byte"),
        pytest.param(400, message(host="Host: a:999999"), id="Host with too long a port"),
        pytest.param(400, message(host="Host: a:b"), id="Host with a port of letters"),
        pytest.param(400, message(host="Host: " + "a" * 254), id="Host longer than any name"),
        pytest.param(
            426, message("GET", "/v1/echo", "Upgrade: websocket", "Connection: Upgrade"), id="upgrade without a key"
        ),
        pytest.param(
            426,
            message("GET", "/v1/echo", "Upgrade: websocket", "Connection: Upgrade", version="HTTP/1.0"),
            id="upgrade over HTTP/1.0",
        ),
    ],
)
async def test_what_the_guards_refuse_ends_the_connection(target: Server, status: int, data: bytes) -> None:
    """Input that a proxy may read differently is refused, and the bytes after it are not read as a request."""
    outcome = await exchange(target, data)

    assert says_problem(outcome, status)
    assert not outcome.goes_on
    await assert_serves(target)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(421, message("GET", "http://evil.example/health/live"), id="target of another authority"),
        pytest.param(421, message("GET", "http://user:pw@127.0.0.1/health/live"), id="target with a user"),
        pytest.param(404, message("OPTIONS", "*"), id="OPTIONS *"),
        pytest.param(405, message("TRACE"), id="TRACE"),
        pytest.param(405, message("PROPFIND"), id="PROPFIND"),
        pytest.param(404, message("GET", "/problems/a%00b"), id="NUL in a path"),
        pytest.param(404, message("GET", "/problems/%ff"), id="byte that is not UTF-8"),
        pytest.param(404, message("GET", "/problems/%zz"), id="percent that is no code"),
        pytest.param(404, message("GET", "/problems/%ed%a0%80"), id="half a surrogate pair"),
        pytest.param(404, message("GET", "/problems/a%2fb"), id="slash inside a name"),
        pytest.param(404, message("GET", "/problems/a%5Cb"), id="backslash inside a name"),
        pytest.param(404, message("GET", "/problems/%0d%0aX-A:%201"), id="line break in a path"),
        pytest.param(404, message("GET", "/v1/users/../../health/live"), id="dots up to a path that is there"),
        pytest.param(404, message("GET", "/static/%2e%2e/%2e%2e/settings.py"), id="dots out of a folder"),
        pytest.param(404, message("GET", "/static/..%2f..%2fsettings.py"), id="coded slashes out of a folder"),
        pytest.param(404, message("GET", "//health/live"), id="two slashes"),
        pytest.param(404, message("GET", "/health\\live"), id="backslash"),
        pytest.param(404, message("GET", "//evil.example/.."), id="address of another host"),
        pytest.param(400, message("GET", "/v1/users?" + "&".join("a" * 51)), id="51 parameters"),
    ],
)
async def test_what_is_well_formed_but_not_here_is_refused_and_goes_on(
    target: Server, status: int, data: bytes
) -> None:
    """A request that is understood and means nothing here is refused, without a redirect, and the next one is served."""
    outcome = await exchange(target, data)

    assert says_problem(outcome, status)
    assert outcome.answer is not None
    assert ("allow" in outcome.answer.headers) is (status == 405)
    assert "location" not in outcome.answer.headers
    assert outcome.goes_on
    await assert_serves(target)


@pytest.mark.parametrize("host", ["127.0.0.1", "a:80"], ids=["another host", "the host itself"])
async def test_connect_is_refused_and_closes(target: Server, host: str) -> None:
    """The service is no proxy. Bytes for the tunnel would be read as requests, so the connection ends."""
    outcome = await exchange(target, message("CONNECT", "a:80", host=f"Host: {host}"))

    assert outcome.answer is not None
    assert outcome.answer.status == 404
    assert outcome.answer.headers["server"] == "roster"
    assert not outcome.goes_on
    await assert_serves(target)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(READ, login(LENGTH, body=BODY), id="body by length"),
        pytest.param(READ, login(CHUNKED), id="body by chunks"),
        pytest.param(READ, login("Transfer-Encoding: Chunked"), id="chunked in another case"),
        pytest.param(READ, login(CHUNKED, body=f"{SIZE}\r\n{BODY}\r\n0\r\nX-A: 1\r\n\r\n"), id="one trailer"),
        # RFC 9112, 7.1.1 asks for a bound: it is the time that the body may take.
        pytest.param(READ, login(CHUNKED, body=f"{SIZE};{'a' * 16384}\r\n{BODY}\r\n0\r\n\r\n"), id="16 KiB extension"),
        pytest.param(READ, login(LENGTH, "Expect: 100-continue", body=BODY), id="Expect: 100-continue"),
        pytest.param(200, message("GET", "http://127.0.0.1/health/live"), id="target of our own authority"),
        pytest.param(200, message(host="Host: [::1]:8080"), id="Host in IPv6"),
        pytest.param(200, message(host="Host: Roster_1.internal.:80"), id="Host with a port"),
        pytest.param(200, message("GET", "/health/live?x=%0d%0aX-A:%201"), id="line break in a parameter"),
        pytest.param(200, message("GET", "/health/live", "Upgrade: h2c", "Connection: Upgrade"), id="Upgrade: h2c"),
        pytest.param(200, message("GET", "/health/live", "Upgrade: foo", "Connection: Upgrade"), id="Upgrade: foo"),
        pytest.param(200, message("GET", "/health/live", "X-Forwarded-For: \xff, a b,,"), id="proxy of nonsense"),
        pytest.param(200, message("GET", "/health/live", "X-Request-Id: a\tb\xff"), id="request id of nonsense"),
    ],
)
async def test_what_is_unusual_but_right_is_served(target: Server, status: int, data: bytes) -> None:
    """Input that the standards allow, or tell a server to ignore, is served, and so is the request after it."""
    outcome = await exchange(target, data)

    assert outcome.status == status
    assert outcome.goes_on
    assert outcome.answer is not None
    assert "x-a" not in outcome.answer.headers
    await assert_serves(target)


@pytest.mark.parametrize("headers", [(CHUNKED,), ()], ids=["chunked", "without Host"])
async def test_http_1_0_is_answered_once(target: Server, headers: tuple[str, ...]) -> None:
    """An HTTP/1.0 request is served and ends the connection (RFC 9112, 6.1 for chunks in it)."""
    if headers:
        outcome = await exchange(target, login(*headers, version="HTTP/1.0"))
        assert outcome.status == READ
    else:
        outcome = await exchange(target, message(host=None, version="HTTP/1.0"))
        assert outcome.status == 200

    assert not outcome.goes_on
    await assert_serves(target)


async def test_unknown_expectation_is_417(target: Server) -> None:
    """`Expect` of anything but 100-continue is 417, from aiohttp itself: in plain text, before any of our code."""
    outcome = await exchange(target, login(LENGTH, "Expect: 200-maybe", body=BODY))

    assert outcome.status == 417
    assert outcome.answer is not None
    assert outcome.answer.headers["server"] == "roster"
    assert outcome.goes_on
    await assert_serves(target)


async def test_length_beyond_the_limit_is_413_at_once(target: Server) -> None:
    """A body that announces too much is refused from its header, before it is sent, and nothing after it is read."""
    async with raw_peer(target.port) as peer:
        await peer.send(login("Content-Length: 1" + "0" * 12, body=BODY[:10]))
        answer = await peer.answer(1.0)
        await peer.send(PROBE)
        with pytest.raises(TimeoutError):
            await peer.answer(0.2)

    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.body)["type"] == "/problems/payload-too-large"
    await assert_serves(target)


async def test_only_named_hosts_are_served() -> None:
    """With `ALLOWED_HOSTS` any other name is 421, whatever its case and port, and the names in it pass."""
    async with serve(allowed_hosts=("Roster.example", "[::1]")) as server:
        expected = {
            "roster.example": 200,
            "ROSTER.example:8080": 200,
            "[::1]:80": 200,
            "127.0.0.1": 421,
            "evil.roster.example": 421,
            "roster.example.": 421,
            "roster.example@evil": 400,
        }
        found = {name: (await exchange(server, message(host=f"Host: {name}"))).status for name in expected}
        nameless = await exchange(server, message(host=None, version="HTTP/1.0"))

    assert found == expected
    assert nameless.status == 400


async def test_pipelined_requests_are_answered_in_order(target: Server) -> None:
    """Three requests in one packet get three answers, in their order."""
    async with raw_peer(target.port) as peer:
        await peer.send(PROBE + message("GET", "/nowhere") + message("DELETE"))
        statuses = [(await peer.answer()).status for _ in range(3)]

    assert statuses == [200, 404, 405]


async def test_garbage_behind_a_request_is_400_and_ends_the_connection(target: Server) -> None:
    """Bytes after an answered request that are no request are refused, and nothing more is read."""
    async with raw_peer(target.port) as peer:
        await peer.send(PROBE)
        assert (await peer.answer()).status == 200
        await peer.send(b"\0\0\0\r\n\r\n" + PROBE)
        assert (await peer.answer()).status == 400
        assert await peer.reader.read() == b""
    await assert_serves(target)


async def test_request_with_garbage_in_its_packet_is_not_carried_out(target: Server) -> None:
    """A request that arrives in one packet with garbage is refused with it: one 400, and nothing was done."""
    body = json.dumps({"username": "packed", "email": "packed@example.com", "password": "long enough to be one"})
    registration = message(
        "POST", "/v1/auth/register", "Content-Type: application/json", f"Content-Length: {len(body)}", body=body
    )
    async with raw_peer(target.port) as peer:
        await peer.send(registration + b"\0\0\0\r\n\r\n")
        assert (await peer.answer()).status == 400
        assert await peer.reader.read() == b""

    # The name is still free.
    assert (await exchange(target, registration)).status == 201


async def test_requests_behind_a_refused_upgrade_are_not_read(target: Server) -> None:
    """A refused upgrade ends the connection, also for what came in the same packet: it may have been meant as frames."""
    hidden = message("POST", "/v1/auth/register", "Content-Length: 0")
    async with raw_peer(target.port) as peer:
        await peer.send(message("GET", "/v1/ws", "Upgrade: websocket", "Connection: Upgrade") + hidden)
        answer = await peer.answer()
        rest = await peer.reader.read()

    assert answer.status == 426
    assert answer.headers["connection"] == "close"
    assert answer.headers["sec-websocket-version"] == "13"
    assert rest == b""
    await assert_serves(target)


async def test_body_that_breaks_off_writes_nothing(target: Server) -> None:
    """A client that ends its connection in the middle of a body has done nothing."""
    body = json.dumps({"username": "halfway", "email": "halfway@example.com", "password": "long enough to be one"})
    whole = message(
        "POST", "/v1/auth/register", "Content-Type: application/json", f"Content-Length: {len(body)}", body=body
    )
    for cut in (1, len(body) - 1):
        async with raw_peer(target.port) as peer:
            await peer.send(whole[: len(whole) - cut])
            peer.writer.write_eof()
            assert await peer.reader.read() == b""

    # The name is still free: a write of one of the halves would have taken it.
    assert (await exchange(target, whole)).status == 201


async def test_head_is_get_without_its_content(target: Server) -> None:
    """HEAD on every path with GET answers with the headers of GET and no content (RFC 9110, 9.3.2)."""
    admin = await target.admin()
    paths = sorted(
        {
            route.resource.canonical
            for route in target.app.router.routes()
            if route.resource is not None and "GET" in getattr(route.handler, "operations", {})
        }
    )
    assert "/v1/users" in paths
    for path in paths:
        if path in ("/v1/ws", "/v1/echo", "/metrics"):
            continue  # no answer without an upgrade; figures that have changed by the second time
        where = path.replace("{id}", admin.id).replace("{slug}", "not-found")
        query = {"sources": "a"} if path == "/v1/aggregate" else {}
        close = {"Connection": "close"}
        async with target.request("HEAD", where, admin, params=query, headers=close) as head:
            assert await head.read() == b"", path
        async with target.request("GET", where, admin, params=query, headers=close) as get:
            assert get.status == head.status, path
            assert _stable(get.headers) == _stable(head.headers), path


def _stable(headers: Mapping[str, str]) -> dict[str, str]:
    # A feed has no length to tell, and chunks only where there is content.
    changing = ("date", "x-request-id", "transfer-encoding")
    return {name.lower(): value for name, value in headers.items() if name.lower() not in changing}


async def test_one_client_that_breaks_everything_disturbs_no_other(target: Server) -> None:
    """A hundred broken connections at once leave a good one on the side untouched."""
    broken = [login(CHUNKED, body="zz\r\n"), b"\0" * 64, message(host=None), message("GET", "/" + "a" * 9000)]
    async with raw_peer(target.port) as good:
        await good.send(PROBE)
        assert (await good.answer()).status == 200
        outcomes = await asyncio.gather(*(exchange(target, broken[number % 4]) for number in range(100)))
        await good.send(PROBE)
        assert (await good.answer()).status == 200

    assert {outcome.status for outcome in outcomes} == {400}
