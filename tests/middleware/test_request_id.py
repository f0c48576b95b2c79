"""A name for each request."""

from __future__ import annotations

import re

from tests.support.peer import raw_peer
from tests.support.server import Server


async def test_every_answer_is_named(server: Server) -> None:
    """Each answer has a name of its own, refusals included, and a problem repeats it."""
    names = set()
    for path, status in (("/health/live", 200), ("/v1/users/me", 401), ("/nothing", 404), ("/metrics/", 404)):
        async with server.request("GET", path) as answer:
            assert answer.status == status
            name = answer.headers["X-Request-Id"]
            if status >= 400:
                assert (await answer.json())["request_id"] == name
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", name)
        names.add(name)

    assert len(names) == 4


async def test_name_from_outside_is_kept(server: Server) -> None:
    """The id from a proxy is kept."""
    for name in ("x", "0193a5c8-7b1e", "A.b_c-9", "x" * 64):
        async with server.request("GET", "/nothing", headers={"X-Request-Id": name}) as answer:
            assert answer.headers["X-Request-Id"] == (await answer.json())["request_id"] == name


async def test_name_that_could_break_a_log_is_replaced(server: Server) -> None:
    """A name that is empty, long, or holds anything but letters, digits, dot, hyphen and underscore is not kept."""
    for name in (b"", b"x" * 65, b"a b", b'a"b', b"a,b", b"a\tb", b"\xff", "é".encode(), b"{}", b"%0a"):
        async with raw_peer(server.port) as peer:
            await peer.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + name + b"\r\n\r\n")
            answer = await peer.answer()
        assert answer.status == 200
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", answer.headers["x-request-id"])
