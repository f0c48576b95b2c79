"""Requests through a proxy: what must not pass, whose address arrives, and bodies without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from yarl import URL

from service.app import now
from service.security.argon2_hasher import Argon2Hasher
from service.store.memory.store import MemoryStore
from tests.support.hosts import ADDRESS, host
from tests.support.proxies import CLIENT, PROXIES, RunningProxy, run_proxy
from tests.support.server import Server
from tests.support.wait import until

USER = b'{"username":"user%d","email":"user%d@example.com"}'
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    "path", ["/metrics", "/%6detrics", "//metrics", "/./metrics", "/metrics?a=1", "/v1/../metrics"]
)
async def test_metrics_are_not_served_outside(
    behind: Server, proxy: RunningProxy, outside: aiohttp.ClientSession, path: str
) -> None:
    """However it is written, `/metrics` is 404 through the proxy, also with the token."""
    url = URL(proxy.url + path, encoded=True)
    async with outside.get(url, headers={"Authorization": f"Bearer {'m' * 32}"}) as answer:
        assert answer.status == 404
        assert "roster_" not in await answer.text()


@pytest.mark.parametrize("sent", [{}, {"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}])
async def test_address_of_a_client_is_its_own(
    behind: Server, outside: aiohttp.ClientSession, sent: dict[str, str]
) -> None:
    """The address of a session is that of the client, not the proxy's, nor what the client claims."""
    ada = await behind.member()
    body = {"login": ada.username, "password": ada.password}
    async with outside.post("/v1/auth/login", json=body, headers=sent) as answer:
        token = (await answer.json())["access_token"]
    async with outside.get("/v1/auth/sessions", headers={"Authorization": f"Bearer {token}"}) as answer:
        sessions = (await answer.json())["items"]
    assert {session["client"] for session in sessions if session["current"]} == {CLIENT}


async def test_host_of_a_request_is_kept(behind: Server, proxy: RunningProxy, outside: aiohttp.ClientSession) -> None:
    """A page of the proxy's own origin is of the same origin for Roster, with that name and port."""
    ada = await behind.member()
    headers = {**ada.headers, "Origin": proxy.url}
    async with outside.ws_connect("/v1/ws", headers=headers) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "hello"


async def test_import_and_export_of_megabytes_pass(behind: Server, outside: aiohttp.ClientSession) -> None:
    """A body that a proxy refuses by default is imported while it still arrives, and exported again as a whole."""
    admin = await behind.admin()

    async def count() -> int:
        listed = await behind.json("GET", "/v1/users", admin, params={"limit": 100})
        return len(listed["items"])

    async def body() -> AsyncIterator[bytes]:
        yield b"".join(USER % (number, number) + b" " * 4_000 + b"\n" for number in range(500))
        await until(lambda: _is(count, 100))
        yield b"".join(USER % (number, number) + b"\n" for number in range(500, 600))

    async with outside.post("/v1/users/import", data=body(), headers={**admin.headers, **NDJSON}) as answer:
        assert answer.status == 200, await answer.text()
        assert json.loads((await answer.text()).splitlines()[0])["created"] == 600
    async with outside.get("/v1/users/export", headers=admin.headers) as answer:
        assert answer.headers["Roster-Position"]
        lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert len([line for line in lines if "username" in line]) == 601


async def _is(count: Callable[[], Awaitable[int]], expected: int) -> bool:
    return await count() == expected


@pytest.mark.parametrize("proxy", PROXIES[:2], indirect=True)  # Caddy 2.6 ends such an answer as if it were whole
async def test_export_cut_short_is_an_error(proxy: RunningProxy, outside: aiohttp.ClientSession) -> None:
    """When Roster dies in the middle of an export, the client gets no proper end; the proxy asks with HTTP/1.1 for that."""
    asked: list[bytes] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n3\r\n{}\n\r\n"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(die, ADDRESS, proxy.upstream_port):
        with pytest.raises(aiohttp.ClientError):
            async with outside.get("/v1/users/export") as answer:
                await answer.read()
    assert asked == [b"GET /v1/users/export HTTP/1.1"]


@pytest.mark.parametrize("name", PROXIES[:2])
async def test_import_may_take_longer_than_other_requests(name: str) -> None:
    """Hashing passwords after the last byte of an import takes longer than the proxy waits for other answers."""
    slow = Argon2Hasher(workers=1, queue=64)
    body = b"".join(USER[:-1] % (n, n) + b',"password":"correct horse battery"}\n' for n in range(5))
    async with (
        run_proxy(name, read_timeout="50ms") as proxy,
        proxy.host(MemoryStore(now), hasher=slow) as server,
        proxy.session() as outside,
    ):
        admin = await server.admin()
        async with outside.post("/v1/users/import", data=body, headers={**admin.headers, **NDJSON}) as answer:
            assert answer.status == 200, await answer.text()
            assert json.loads((await answer.text()).splitlines()[0])["created"] == 5


@pytest.mark.parametrize("proxy", PROXIES[1:], indirect=True)
async def test_request_waits_while_roster_restarts(proxy: RunningProxy, outside: aiohttp.ClientSession) -> None:
    """HAProxy and Caddy hold a request while no process listens, and send it when Roster does."""
    waiting = asyncio.create_task(outside.get("/health/live"))
    await asyncio.sleep(0)
    async with host(MemoryStore(now)) as elsewhere:  # a start takes as long as the proxy needs to find no one
        await elsewhere.json("GET", "/health/live")
        async with proxy.host(MemoryStore(now)), await waiting as answer:
            assert answer.status == 200
