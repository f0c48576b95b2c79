"""Several upstreams in one answer; how they are asked is tested in outbound/test_aggregate.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.server import Server, serve
from tests.support.upstream import Upstream, body, data, running, when


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as upstream:
        yield upstream


@pytest.fixture
async def asking(upstream: Upstream) -> AsyncIterator[Server]:
    """A service that knows four upstreams: one that is well, one that fails, one that is late, one that talks HTML."""
    upstreams = {
        "weather": upstream.on("/weather", data({"temperature": 21.5})),
        "news": upstream.on("/news", data({"error": "broken"}, status=404)),
        "late": upstream.on("/late", when(asyncio.Event(), data("never"))),
        "html": upstream.on("/html", body(b"<p>", kind="text/html")),
    }
    async with serve(upstreams=upstreams, aggregate_timeout_s=0.2, outbound_retries=0) as server:
        yield server


async def test_answers_come_in_the_order_asked(asking: Server, upstream: Upstream) -> None:
    """Each upstream's status, time and JSON stand under its name, in the order asked, and nothing is kept."""
    ada = await asking.member("ada")
    headers = {"X-Request-Id": "r-1"}
    async with asking.request("GET", "/v1/aggregate?sources=news,weather,news", ada, headers=headers) as answer:
        found = await answer.json()

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert list(found["results"]) == ["news", "weather"]
    assert found["complete"] is True
    weather = found["results"]["weather"]
    assert (weather["status"], weather["data"]) == (200, {"temperature": 21.5})
    assert 0 <= weather["ms"] < 5000
    assert found["results"]["news"]["status"] == 404
    assert {request.headers["X-Request-Id"] for request in upstream.received} == {"r-1"}
    assert all("Authorization" not in request.headers for request in upstream.received)


async def test_failures_stand_in_their_place(asking: Server) -> None:
    """A failed or late upstream is reported in place, within the time, and the response is not complete."""
    ada = await asking.member("ada")
    found = await asking.json("GET", "/v1/aggregate?sources=late,weather,html", ada)

    assert found["complete"] is False
    assert found["results"]["late"]["error"]["code"] == "timeout"
    assert found["results"]["html"]["error"]["code"] == "not_json"
    assert found["results"]["weather"]["data"] == {"temperature": 21.5}
    assert all(set(result["error"]) == {"code", "detail"} for result in found["results"].values() if "error" in result)


async def test_only_named_upstreams_are_asked(asking: Server, upstream: Upstream) -> None:
    """An unknown name, an address, or no name at all sends no request."""
    ada = await asking.member("ada")
    problem = await asking.json("GET", "/v1/aggregate?sources=weather,absent", ada, status=400)
    assert problem["detail"] == "There is no source 'absent'; there are weather, news, late, html."
    for query in ("", "?sources=", "?sources=https://example.com", "?sources=weather&url=x", "?sources=a&sources=b"):
        await asking.json("GET", f"/v1/aggregate{query}", ada, status=400)
    await asking.json("GET", "/v1/aggregate?sources=weather", status=401)

    assert upstream.received == []


async def test_without_upstreams_it_says_so(server: Server) -> None:
    """Where no upstream is set the answer says which setting names them."""
    problem = await server.json("GET", "/v1/aggregate?sources=weather", await server.member("ada"), status=400)

    assert "ROSTER_UPSTREAMS names none" in problem["detail"]
