"""Promise: a database that is down, frozen or unreachable is reported at once, and used again when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest
from yarl import URL

from tests.support.postgres import frozen, postgres
from tests.support.proxy import Proxy
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.wait import BUSY_S, until

TOLD_S: Final = 2.0

Fault = Callable[[str, Proxy], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


@asynccontextmanager
async def is_frozen(url: str, proxy: Proxy) -> AsyncIterator[None]:
    async with frozen(url):
        yield


@asynccontextmanager
async def swallows(url: str, proxy: Proxy) -> AsyncIterator[None]:
    proxy.mode = "swallow"
    yield
    proxy.refuse()  # what was swallowed is lost: a connection that goes on without it would not make sense
    proxy.mode = "pass"


@asynccontextmanager
async def is_gone(url: str, proxy: Proxy) -> AsyncIterator[None]:
    proxy.refuse()
    yield
    proxy.mode = "pass"


@pytest.mark.parametrize("fault", [is_frozen, swallows, is_gone])
async def test_failing_database_is_reported_within_two_seconds(url: str, fault: Fault) -> None:
    """Reads and writes, however many wait, are answered 503 with `Retry-After`; readiness is false, liveness true; a feed
    says in the stream when to come back; and all goes on by itself, with nothing half done."""
    there = URL(url)
    async with (
        Proxy(there.host or "", there.port or 0).listening() as proxy,
        serve(store_url=str(there.with_port(proxy.port))) as server,
    ):
        admin, member = await server.admin(), await server.member(fault.__name__)
        stranger = await unknown(server, member)
        async with fault(url, proxy):
            for _ in range(2):  # with connections that were there, then without any
                answers = await asyncio.gather(*(timed(server, *asked) for asked in questions(server, admin, member)))
                for path, status, retry_after, took_s in answers:
                    assert (path, status, retry_after) == (path, 503, "1")
                    assert took_s < TOLD_S + BUSY_S, path
                assert (await timed(server, "GET", "/health/live", None))[1] == 200
                async with server.feed(stranger) as feed:
                    assert (await feed.expect("closing")).data["reason"] == "feed_failed"
                    assert await feed.next() is None

        async def is_ready() -> bool:
            return (await timed(server, "GET", "/health/ready", None))[1] == 200

        await until(is_ready, timeout=10)
        user = await server.json("PATCH", f"/v1/users/{member.id}", admin, json={"name": "at last"})
        assert user["name"] == "at last"
        page = await server.json("GET", "/v1/events", admin, params={"after": "0", "limit": "100"})
        seqs = [int(event["id"].rpartition("-")[2]) for event in page["items"]]
        assert seqs == list(range(1, len(seqs) + 1))


async def unknown(server: Server, member: Login) -> Login:
    """The member with a new token, which needs a look-up in the store."""
    login = {"login": member.username, "password": PASSWORD}
    tokens = await server.json("POST", "/v1/auth/login", json=login)
    return replace(member, access_token=tokens["access_token"])


def questions(server: Server, admin: Login, member: Login) -> list[tuple[str, str, Login | None, Any]]:
    """More than there are connections of each kind."""
    reads = ["/v1/users/me", "/v1/users", "/v1/users?q=ada", "/v1/events?after=0"]
    writes = [("PATCH", f"/v1/users/{member.id}", admin, {"name": f"name {number}"}) for number in range(30)]
    return [
        ("GET", "/health/ready", None, None),
        ("POST", "/v1/auth/login", None, {"login": member.username, "password": PASSWORD}),
        *[("GET", path, admin, None) for path in reads for _ in range(8)],
        *writes,
    ]


async def timed(
    server: Server, method: str, path: str, by: Login | None, json: Any = None
) -> tuple[str, int, str | None, float]:
    """The request, the status, `Retry-After`, and the duration."""
    began = asyncio.get_running_loop().time()
    async with server.request(method, path, by, json=json) as answer:
        await answer.read()
        took_s = asyncio.get_running_loop().time() - began
        return f"{method} {path}", answer.status, answer.headers.get("Retry-After"), took_s
