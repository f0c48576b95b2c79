from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest
from aiohttp import ClientSession, web

from service.outbound.aggregate import Aggregator
from service.outbound.failures import INTERNAL, TIMEOUT, Failed
from service.outbound.fetch import FetchedResponse
from tests.support.upstream import Upstream, body, data, endless, when
from tests.support.wait import until


def aggregator(
    session: ClientSession, upstreams: Mapping[str, str], *, concurrency: int = 10, timeout_s: float = 5
) -> Aggregator:
    return Aggregator(session, upstreams, concurrency=concurrency, timeout_s=timeout_s, max_bytes=1000)


def codes(results: Mapping[str, FetchedResponse | Failed]) -> dict[str, str | int]:
    return {name: result.code if isinstance(result, Failed) else result.status for name, result in results.items()}


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "roster.outbound"]


def tasks() -> list[str]:
    return sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("aggregate "))


async def test_answers_keep_the_order_asked(session: ClientSession, upstream: Upstream) -> None:
    """The order is that of the question, not that of arrival."""
    gate = asyncio.Event()

    async def opens(request: web.Request) -> web.StreamResponse:
        gate.set()
        return await data("fast")(request)

    urls = {"fast": upstream.on("/fast", opens), "slow": upstream.on("/slow", when(gate, data("slow")))}
    found = await aggregator(session, urls).fetch(["slow", "fast"], "r-1")

    assert [(name, result.data) for name, result in found.results.items() if isinstance(result, FetchedResponse)] == [
        ("slow", "slow"),
        ("fast", "fast"),
    ]
    assert found.complete


async def test_name_asked_twice_is_fetched_once(session: ClientSession, upstream: Upstream) -> None:
    """A name that stands twice in the question is asked and answered once, and carries the request id."""
    found = await aggregator(session, {"a": upstream.on("/", data(1))}).fetch(["a", "a"], "r-1")

    assert codes(found.results) == {"a": 200}
    assert [request.headers["X-Request-Id"] for request in upstream.received] == ["r-1"]


async def test_nothing_asked_is_complete(session: ClientSession) -> None:
    """No names, no results, nothing missing."""
    found = await aggregator(session, {}).fetch([], "r-1")

    assert (found.results, found.complete) == ({}, True)


async def test_unknown_name_sends_no_request(session: ClientSession, upstream: Upstream) -> None:
    """A name without a URL is the caller's mistake, found before anything goes out."""
    with pytest.raises(KeyError):
        await aggregator(session, {"a": upstream.on("/", data(1))}).fetch(["a", "b"], "r-1")

    assert upstream.received == []


async def test_failures_stand_in_place(
    session: ClientSession, upstream: Upstream, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One upstream that fails leaves the others their answers; the log says which and why, without URLs."""
    urls = {
        "good": upstream.on("/good", data({"a": 1})),
        "dead": f"http://key:secret@127.0.0.1:{unused_tcp_port}/?token=secret",
        "html": upstream.on("/html", body(b"<p>", kind="text/html", status=500)),
        "huge": upstream.on("/huge", endless(b" " * 65_536)),
        "gone": upstream.on("/gone", data("gone", status=410)),
    }
    with caplog.at_level(logging.WARNING, "service.outbound"):
        found = await aggregator(session, urls).fetch(list(urls), "r-1")

    assert codes(found.results) == {
        "good": 200,
        "dead": "connection",
        "html": "not_json",
        "huge": "too_large",
        "gone": 410,
    }
    assert not found.complete
    logged = {record.__dict__["upstream"]: record.__dict__ for record in ours(caplog)}
    assert {name: record["code"] for name, record in logged.items()} == {
        "dead": "connection",
        "html": "not_json",
        "huge": "too_large",
    }
    assert {record["request_id"] for record in logged.values()} == {"r-1"}
    assert "secret" not in str(logged)


async def test_concurrency_is_bounded(session: ClientSession, upstream: Upstream) -> None:
    """Never more upstreams are asked at once than allowed, and that many are."""
    gate = asyncio.Event()
    urls = {f"u{n}": upstream.on(f"/{n}", when(gate, data(n))) for n in range(8)}

    asking = asyncio.create_task(aggregator(session, urls, concurrency=3).fetch(list(urls), "r-1"))
    await until(lambda: upstream.active == 3)
    gate.set()
    found = await asking

    assert found.complete
    assert upstream.peak == 3


async def test_deadline_keeps_what_came(session: ClientSession, upstream: Upstream) -> None:
    """A response that is late, or was not requested yet, is `timeout` in place; the others are kept."""
    never = when(asyncio.Event(), data("late"))
    urls = {
        "late": upstream.on("/late", never),
        "drip": upstream.on("/drip", endless(b" ", pause_s=0.01)),
        "good": upstream.on("/good", data(1)),
    }
    loop = asyncio.get_running_loop()
    started = loop.time()
    found = await aggregator(session, urls, timeout_s=0.5).fetch(list(urls), "r-1")
    few = await aggregator(session, urls, timeout_s=0.1, concurrency=1).fetch(["late", "good"], "r-1")

    assert loop.time() - started < 4
    assert codes(found.results) == {"late": "timeout", "drip": "timeout", "good": 200}
    assert list(few.results.values()) == [TIMEOUT, TIMEOUT]
    assert not found.complete
    assert tasks() == []
    await until(lambda: upstream.dropped == 3)


async def test_cancelled_caller_leaves_nothing_behind(session: ClientSession, upstream: Upstream) -> None:
    """When the caller goes away, its tasks end before it does and its connections close."""
    never = when(asyncio.Event(), data("late"))
    urls = {
        "a": upstream.on("/a", never),
        "b": upstream.on("/b", endless(b" ", pause_s=0.01)),
        "c": upstream.on("/c", never),
    }

    asking = asyncio.create_task(aggregator(session, urls, concurrency=2).fetch(list(urls), "r-1"))
    await until(lambda: upstream.active == 2)
    assert tasks() == ["aggregate a", "aggregate b", "aggregate c"]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert tasks() == []
    await until(lambda: upstream.connections == 0)
    assert upstream.dropped == 2


async def test_our_own_fault_stays_in_its_place(
    session: ClientSession, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is `internal` for that upstream only, with its traceback in the log."""
    urls = {"bad": "no-such-scheme://upstream/", "good": upstream.on("/", data(1))}
    found = await aggregator(session, urls).fetch(list(urls), "r-1")

    assert codes(found.results) == {"bad": "internal", "good": 200}
    assert found.results["bad"] is INTERNAL
    assert [record.exc_info is not None for record in ours(caplog)] == [True]
