from __future__ import annotations

import gzip
import json
import socket
import tracemalloc
import zlib
from typing import Any

import pytest
from aiohttp import ClientSession

from service.config.load import load
from service.outbound.failures import failure
from service.outbound.fetch import FetchedResponse, fetch
from service.outbound.session import open_session
from tests.support.upstream import Reply, Upstream, body, cut, data, endless, raw, zipped
from tests.support.wait import until

MAX_BYTES = 1000


async def get(session: ClientSession, url: str) -> FetchedResponse:
    return await fetch(session, url, request_id="r-1", max_bytes=MAX_BYTES)


async def code(session: ClientSession, url: str) -> str:
    """How the call fails."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the code is what is looked at
        await get(session, url)
    return failure(caught.value).code


@pytest.mark.parametrize("status", [200, 201, 400, 404, 500, 503])
async def test_answer_comes_with_its_status(session: ClientSession, upstream: Upstream, status: int) -> None:
    """JSON is data whatever the status: that something is not found is an answer."""
    fetched = await get(session, upstream.on("/", data({"a": [1]}, status=status)))

    assert (fetched.status, fetched.data) == (status, {"a": [1]})
    assert 0 <= fetched.ms < 5000


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/problem+json", "Application/JSON", "application/hal+json"]
)
async def test_every_json_type_is_read(session: ClientSession, upstream: Upstream, kind: str) -> None:
    """JSON may come under any type that says so."""
    assert (await get(session, upstream.on("/", body(b"1", kind=kind)))).data == 1


async def test_call_asks_for_json_and_carries_the_request_id(session: ClientSession, upstream: Upstream) -> None:
    """The upstream learns what is wanted and for which request."""
    await get(session, upstream.on("/", data(1)))

    headers = upstream.received[0].headers
    assert (headers["Accept"], headers["X-Request-Id"]) == ("application/json", "r-1")


async def test_credentials_in_the_url_are_sent_as_basic(session: ClientSession, upstream: Upstream) -> None:
    """A user and password in the setting's URL go out as `Authorization: Basic`."""
    await get(session, upstream.on("/", data(1)).replace("//", "//user:pass@"))

    assert upstream.received[0].headers["Authorization"] == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize("status", [204, 404, 500])
@pytest.mark.parametrize("kind", [None, "application/json", "text/html"])
async def test_empty_answer_is_no_data(
    session: ClientSession, upstream: Upstream, status: int, kind: str | None
) -> None:
    """An answer without content keeps its status and has no data."""
    fetched = await get(session, upstream.on("/", body(b"", status=status, kind=kind)))

    assert (fetched.status, fetched.data) == (status, None)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (body(b"<p>", kind="text/html"), "not_json"),
        (body(b"<p>", kind="text/html", status=502), "not_json"),
        (body(b"{}", kind="text/plain"), "not_json"),
        (body(b"{}", kind="application/json-seq"), "not_json"),
        (body(b"", kind="text/html"), "not_json"),
        (body(b""), "invalid_json"),
        (body(b"{"), "invalid_json"),
        (body(b"{", status=500), "invalid_json"),
        (body(b"[NaN]"), "invalid_json"),
        (body(b'"\xff"'), "invalid_json"),
        (body(b"[" * 900), "invalid_json"),
        (body(b"[" * 400 + b"]" * 400), "invalid_json"),
        (cut(b'{"a"', length=100), "connection"),
        (cut(b'{"a"'), "connection"),
        (raw(b""), "connection"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "connection"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{}"), "connection"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{}"), "protocol"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000_000 + b"\r\n\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"), "protocol"),
        (body(b"hello", Content_Encoding="gzip"), "protocol"),
        (body(gzip.compress(b"{}" * 99)[:12], Content_Encoding="gzip"), "invalid_json"),
        (body(b"", status=302, Location="http://127.0.0.1/"), "redirect"),
    ],
)
async def test_bad_answer_has_its_code(session: ClientSession, upstream: Upstream, reply: Reply, expected: str) -> None:
    """Whatever an upstream sends, the failure has the code of the catalogue and nothing else escapes."""
    assert await code(session, upstream.on("/", reply)) == expected


async def test_refused_connection_has_its_code(session: ClientSession, unused_tcp_port: int) -> None:
    """If no server listens the code is `connection`."""
    assert await code(session, f"http://127.0.0.1:{unused_tcp_port}/") == "connection"


async def test_unknown_name_has_its_code() -> None:
    """A name that does not resolve has the code `dns`."""

    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with open_session(load(), backoff_s=0.001, lookup=lookup) as session:
        assert await code(session, "http://nowhere.example/") == "dns"


async def test_late_answer_has_its_code(upstream: Upstream) -> None:
    """A body that stops arriving has the code `timeout`."""
    url = upstream.on("/", endless(b" ", pause_s=60))

    async with open_session(load(outbound_read_timeout_s=0.05)) as session:
        assert await code(session, url) == "timeout"


def _text_of(size: int) -> bytes:
    return json.dumps("x" * (size - 2)).encode()


@pytest.mark.parametrize("wrap", [body, zipped])
async def test_bound_is_exact(session: ClientSession, upstream: Upstream, wrap: Any) -> None:
    """An answer of exactly the bound is taken, one byte more is not, as it is unpacked."""
    assert (await get(session, upstream.on("/", wrap(_text_of(MAX_BYTES))))).status == 200
    assert await code(session, upstream.on("/", wrap(_text_of(MAX_BYTES + 1)))) == "too_large"


async def test_endless_body_is_left_at_the_bound(session: ClientSession, upstream: Upstream) -> None:
    """A chunked body without end is left when the bound is passed, and its connection closed."""
    assert await code(session, upstream.on("/", endless(b" " * 65_536))) == "too_large"
    await until(lambda: upstream.dropped == 1 and upstream.connections == 0)


async def test_announced_size_is_believed(session: ClientSession, upstream: Upstream) -> None:
    """A length over the bound is enough to leave, without a byte of the body."""
    assert await code(session, upstream.on("/", cut(b"", length=10**12))) == "too_large"


async def test_bomb_costs_little_memory(session: ClientSession, upstream: Upstream) -> None:
    """200 MB of zeros in 200 KB of gzip are left at the bound, having cost about as much as any answer."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packer.compress(bytes(1_000_000)) for _ in range(200)] + [packer.flush()])
    url = upstream.on("/", body(bomb, Content_Encoding="gzip"))

    tracemalloc.start()
    try:
        failed = await fetch_code(session, url, max_bytes=1_048_576)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert failed == "too_large"
    assert peak < 8_000_000


async def fetch_code(session: ClientSession, url: str, *, max_bytes: int) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the code is what is looked at
        await fetch(session, url, request_id="r-1", max_bytes=max_bytes)
    return failure(caught.value).code
