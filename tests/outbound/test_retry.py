from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, web

from service.outbound.retry import Retry, retry_after_s
from tests.support.upstream import Upstream, cut, data, endless, raw, when
from tests.support.wait import until

BUSY = data("busy", status=503)
DEAD = raw(b"")


class Waits:
    """Keeps what was waited for and returns at once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


Open = Callable[..., contextlib.AbstractAsyncContextManager[ClientSession]]


@pytest.fixture
def retrying(waits: Waits) -> Open:
    @contextlib.asynccontextmanager
    async def open_session(**choices: Any) -> AsyncIterator[ClientSession]:
        retry = Retry(**{"retries": 2, "total_s": 5, "draw": lambda: 1.0, "sleep": waits, **choices})
        async with ClientSession(middlewares=(retry,)) as session:
            yield session

    return open_session


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_busy_upstream_is_tried_again(upstream: Upstream, retrying: Open, method: str, status: int) -> None:
    """An idempotent call that meets 429, 502, 503 or 504 is repeated until it is answered otherwise."""
    url = upstream.on("/", data("busy", status=status), data("busy", status=status), data("done"))

    async with retrying() as session, session.request(method, url) as response:
        assert response.status == 200

    assert len(upstream.received) == 3


async def test_last_answer_is_handed_out(upstream: Upstream, retrying: Open) -> None:
    """When all tries meet a busy upstream, the caller reads the last answer."""
    url = upstream.on("/", BUSY)

    async with retrying() as session, session.get(url) as response:
        assert (response.status, await response.json()) == (503, "busy")

    assert len(upstream.received) == 3


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_broken_connection_is_tried_exactly_so_often(upstream: Upstream, retrying: Open, retries: int) -> None:
    """A connection that breaks off before the answer makes `retries` further tries: ClientSession adds none."""
    url = upstream.on("/", DEAD)

    async with retrying(retries=retries) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)

    assert len(upstream.received) == 1 + retries


async def test_broken_connection_heals(upstream: Upstream, retrying: Open) -> None:
    """A call whose first connection breaks off is answered on the second."""
    async with retrying() as session, session.get(upstream.on("/", DEAD, data("done"))) as response:
        assert await response.json() == "done"


async def test_refused_connection_is_tried_again(unused_tcp_port: int, retrying: Open, waits: Waits) -> None:
    """If no server listens, every try is made, and the error names a connection."""
    async with retrying() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{unused_tcp_port}/")

    assert len(waits.seconds) == 2


@pytest.mark.parametrize("reply", [BUSY, DEAD])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_methods_are_tried_once(upstream: Upstream, retrying: Open, method: str, reply: Any) -> None:
    """A call that may have an effect each time is never repeated."""
    url = upstream.on("/", reply, data("done"))

    async with retrying() as session:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.request(method, url, data=b"x") as response:
                assert response.status == 503

    assert len(upstream.received) == 1


@pytest.mark.parametrize("status", [200, 400, 404, 500, 501])
async def test_other_statuses_are_answers(upstream: Upstream, retrying: Open, status: int) -> None:
    """Any other status, a plain 500 too, is handed out at once."""
    async with retrying() as session, session.get(upstream.on("/", data("x", status=status))) as response:
        assert response.status == status

    assert len(upstream.received) == 1


async def test_body_is_sent_again(upstream: Upstream, retrying: Open) -> None:
    """The body of a repeated PUT is the same."""
    async with retrying() as session, session.put(upstream.on("/", BUSY, DEAD, data("done")), data=b"body") as response:
        assert response.status == 200

    assert [request.body for request in upstream.received] == [b"body"] * 3


async def test_body_still_on_its_way_is_sent_again_whole(upstream: Upstream, retrying: Open) -> None:
    """An upstream that answers before it has read the body gets all of it at the next try."""

    async def length(request: web.Request) -> web.StreamResponse:
        return web.json_response(len(await request.read()))

    upstream.reads_bodies = False
    url = upstream.on("/", BUSY, length)

    async with retrying() as session, session.put(url, data=io.BytesIO(bytes(10_000_000))) as response:
        assert await response.json() == 10_000_000


async def test_body_that_is_used_up_is_not_sent_again(upstream: Upstream, retrying: Open) -> None:
    """A body that can be read only once is never repeated as an empty one."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    async with retrying() as session, session.put(upstream.on("/", BUSY, data("done")), data=pieces()) as response:
        assert response.status == 503

    assert [request.body for request in upstream.received] == [b"once"]


async def test_slow_upstream_is_not_asked_twice(upstream: Upstream, retrying: Open) -> None:
    """An upstream that took the request and does not answer is not given another."""
    url = upstream.on("/", when(asyncio.Event(), data("late")))

    async with retrying() as session:
        with pytest.raises(aiohttp.SocketTimeoutError):
            await session.get(url, timeout=aiohttp.ClientTimeout(sock_read=0.2))

    assert len(upstream.received) == 1


async def test_untrusted_upstream_is_not_asked_twice(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """Where TLS fails there is no further try: it would fail again."""
    async with retrying() as session:
        with pytest.raises(aiohttp.ClientSSLError):
            await session.get(upstream.on("/", data(1)).replace("http:", "https:"))

    assert waits.seconds == []


async def test_body_cut_short_is_not_hidden(upstream: Upstream, retrying: Open) -> None:
    """An error after the start of the response reaches the caller: the middleware has returned the response by then."""
    async with retrying() as session, session.get(upstream.on("/", cut(b"ab", length=9))) as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_waits_double_and_stop_growing(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """The bound of the wait doubles with each try up to the longest wait."""
    async with retrying(retries=5, base_s=0.01, max_wait_s=0.05) as session, session.get(upstream.on("/", BUSY)):
        pass

    assert waits.seconds == [0.01, 0.02, 0.04, 0.05, 0.05]


async def test_waits_are_drawn(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """The wait is a drawn part of its bound, from nothing to all of it."""
    draws = iter([0.0, 0.5, 0.25])
    async with retrying(base_s=0.01, draw=lambda: next(draws)) as session, session.get(upstream.on("/", BUSY)):
        pass

    assert waits.seconds == [0.0, 0.01]


async def test_retry_after_is_honoured(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """An upstream that says when to come back is not asked before."""
    url = upstream.on("/", data("busy", status=429, Retry_After="1"), data("done"))

    async with retrying(base_s=0.25) as session, session.get(url) as response:
        assert response.status == 200

    assert waits.seconds == [1.25]


async def test_long_retry_after_is_left_to_the_caller(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """When the upstream asks for more than is waited here, its answer is handed out without another try."""
    url = upstream.on("/", data("busy", status=503, Retry_After="3"), data("done"))

    async with retrying(max_wait_s=2) as session, session.get(url) as response:
        assert response.status == 503

    assert (len(upstream.received), waits.seconds) == (1, [])


async def test_wait_over_the_deadline_is_not_begun(upstream: Upstream, retrying: Open, waits: Waits) -> None:
    """When the next try could only come after the deadline, the answer at hand is better than none."""
    url = upstream.on("/", data("busy", status=503, Retry_After="1"), data("done"))

    async with retrying(total_s=0.9) as session, session.get(url) as response:
        assert response.status == 503

    assert (len(upstream.received), waits.seconds) == (1, [])


async def test_deadline_covers_all_tries(upstream: Upstream, retrying: Open) -> None:
    """Tries and waits together end at the deadline, whatever the session's own timeout is."""
    url = upstream.on("/", BUSY, when(asyncio.Event(), data("late")))

    async with retrying(total_s=0.5, base_s=0.001) as session:
        with pytest.raises(TimeoutError):
            await session.get(url, timeout=aiohttp.ClientTimeout(total=None))

    assert len(upstream.received) == 2


async def test_given_up_answers_free_their_connection(upstream: Upstream, waits: Waits) -> None:
    """With one connection in the pool, the next try gets it: an answer that is given up half read holds nothing."""
    url = upstream.on("/", endless(b" ", pause_s=0.01, status=503), data("done"))

    async with (
        ClientSession(
            connector=aiohttp.TCPConnector(limit=1), middlewares=(Retry(2, total_s=5, sleep=waits),)
        ) as session,
        session.get(url) as response,
    ):
        assert response.status == 200

    await until(lambda: upstream.dropped == 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        (formatdate(1_000_030, usegmt=True), 30),
        ("Mon, 12 Jan 1970 13:47:10 -0000", 30),
        (formatdate(999_000, usegmt=True), 0),
        ("", 0),
        ("-1", 0),
        ("1.5", 0),
        ("soon", 0),
        ("9" * 30, 0),
        ("Mon, 99 Jan 1970 13:47:10 GMT", 0),
        ("Mon, 12 Jan 99999999999 13:47:10 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    """Both forms of the header are read; what is neither, or past, asks for nothing."""
    assert retry_after_s({"Retry-After": text}, now=1_000_000) == seconds


def test_absent_retry_after_asks_for_nothing() -> None:
    """Without the header there is nothing to wait for."""
    assert retry_after_s({}, now=0) == 0
