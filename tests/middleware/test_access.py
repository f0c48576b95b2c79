"""One log line and one count for every request."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.app import create_app
from service.http.services import SERVICES
from service.security.argon2_hasher import Argon2Hasher
from service.server.runner import Runner
from service.store.memory.users import MemoryUserReads
from service.telemetry.access import AccessLog
from service.telemetry.logs import LineWriter
from tests.support.hostile import exchange, message
from tests.support.peer import raw_peer
from tests.support.server import Server, settings_for_tests
from tests.support.wait import until

JSON = "Content-Type: application/json"


class Logged(Server):
    """A running service whose access log can be read."""

    stream: io.StringIO

    async def line(self, request_id: str) -> dict[str, Any]:
        """The line of one request, once it is written."""
        await until(lambda: request_id in self.stream.getvalue())
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        (found,) = [line for line in lines if line["request_id"] == request_id]
        return dict(found)


@pytest.fixture
async def logged() -> AsyncIterator[Logged]:
    stream = io.StringIO()
    writer = LineWriter(stream)
    log = AccessLog(writer, "json", every_s=0.005)
    hasher = Argon2Hasher(workers=2, queue=64, memory_kib=64)
    runner = Runner(create_app(settings_for_tests(), hasher=hasher, access_log=log))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
        server = Logged(runner.app, site.port, session)
        server.stream = stream
        try:
            yield server
        finally:
            await runner.cleanup()
            log.close()
            writer.close()


def counted(server: Server, method: str, route: str, status: int) -> int:
    """How many requests ended so, by the metrics."""
    line = f'roster_http_requests_total{{method="{method}",route="{route}",status="{status}"}} '
    text = server.app[SERVICES].metrics.text().decode()
    return int(float(text.split(line)[1].split("\n")[0])) if line in text else 0


async def test_line_tells_who_asked_for_what(logged: Logged) -> None:
    """A line names the template of the route, not the address, the user and the client, and how much was sent."""
    ada = await logged.member("ada")
    path = f"/v1/users/{ada.id}?secret=x"
    async with logged.request("GET", path, ada, headers={"X-Request-Id": "r-1"}) as answer:
        body = await answer.read()
    line = await logged.line("r-1")

    assert line.pop("time").endswith("Z")
    assert 0 <= line.pop("ms") < 5_000
    assert line == {
        "level": "info",
        "logger": "roster.access",
        "msg": "request",
        "method": "GET",
        "route": "/v1/users/{id}",
        "status": 200,
        "bytes": len(body),
        "request_id": "r-1",
        "user": ada.id,
        "client": "127.0.0.1",
    }
    assert "secret" not in logged.stream.getvalue()
    assert counted(logged, "GET", "/v1/users/{id}", 200) == 1


async def test_refusals_are_logged_like_answers(logged: Logged) -> None:
    """A refused request has its line and its count too, under the route if there is one, and names the problem; no user is the
    user of it."""
    for path, route, status, problem in (
        ("/v1/users/me", "/v1/users/me", 401, "unauthenticated"),
        ("/nothing", "-", 404, "not-found"),
    ):
        async with logged.request("GET", path, headers={"X-Request-Id": f"r-{status}"}) as answer:
            assert answer.status == status
        line = await logged.line(f"r-{status}")
        assert (line["route"], line["status"], line["user"], line["problem"]) == (route, status, None, problem)
        assert counted(logged, "GET", route, status) == 1


async def test_who_logs_in_or_refreshes_is_named(logged: Logged) -> None:
    """Lines of logins and refreshes that went well name the user, whom nothing but their answer makes known."""
    ada = await logged.member("ada")
    body: dict[str, str] = {"login": "ada", "password": ada.password}
    await logged.json("POST", "/v1/auth/login", json=body, headers={"X-Request-Id": "r-1"})
    await logged.json(
        "POST", "/v1/auth/login", status=401, json=body | {"password": "wrong"}, headers={"X-Request-Id": "r-2"}
    )
    body = {"refresh_token": ada.refresh_token}
    await logged.json("POST", "/v1/auth/refresh", json=body, headers={"X-Request-Id": "r-3"})

    lines = [await logged.line(f"r-{number}") for number in (1, 2, 3)]
    assert [line["user"] for line in lines] == [ada.id, None, ada.id]
    assert [line.get("problem") for line in lines] == [None, "invalid-credentials", None]


async def test_nothing_that_was_sent_is_logged(logged: Logged) -> None:
    """A line has no word of a client's in it but a request id that is fit for one: no address, query, header or body, so
    neither a secret nor a control character; and each request has one line."""
    esc, crlf = "\x1b[2J", "%0d%0a%1b[31m"
    requests = [
        message("GET", f"/v1/feed?ticket=hunter2{crlf}"),
        message("GET", f"/v1/feed?access_token=hunter2&after={crlf}"),
        message("GET", f"/hunter2{crlf}"),
        message("GET", f"/problems/hunter2{crlf}?x=hunter2"),
        message(
            "GET",
            "/health/live",
            "X-Request-Id: hunter2\tforged",
            "User-Agent: hunter2\xff",
            "Referer: http://hunter2/",
        ),
        message("GET", "/health/live", "X-Forwarded-For: hunter2", "Cookie: roster_stream=hunter2"),
        message("GET", "/v1/users/me", "Authorization: Bearer hunter2"),
        message("PROPFIND", "/hunter2"),
    ]
    for name in (f"hunter2{esc}\r\n", "hunter2\u2028", "hunter2\0"):
        body = json.dumps({"login": name, "password": name})
        requests.append(message("POST", "/v1/auth/login", JSON, f"Content-Length: {len(body)}", body=body))
    for data in requests:
        assert (await exchange(logged, data)).status is not None
    # Each was followed by a probe on its connection.
    await until(lambda: logged.stream.getvalue().count("\n") == 2 * len(requests))
    text = logged.stream.getvalue()

    assert all(json.loads(line)["msg"] == "request" for line in text.splitlines())
    assert "hunter2" not in text
    assert text.isascii()
    assert not any(ord(letter) < 32 for letter in text.replace("\n", ""))


async def test_our_own_fault_is_a_500(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that ends with an internal error is counted as 500."""

    async def broken(*_: object) -> None:
        raise RuntimeError

    admin = await logged.admin()
    monkeypatch.setattr(MemoryUserReads, "find", broken)
    async with logged.request("GET", "/v1/users/me", admin, headers={"X-Request-Id": "r-1"}) as answer:
        assert answer.status == 500

    assert (await logged.line("r-1"))["status"] == 500


async def test_client_that_left_is_a_499(logged: Logged) -> None:
    """A request whose client left before its answer is neither a success nor our fault."""
    async with raw_peer(logged.port) as peer:
        await peer.send(
            "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\n"
            "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        await until(lambda: len(logged.app[SERVICES].metrics.text()) > 0)

    assert (await logged.line("r-1"))["status"] == 499
    assert counted(logged, "POST", "/v1/auth/login", 499) == 1


async def test_stream_is_logged_when_it_ends(logged: Logged) -> None:
    """The line of a stream comes at its end, with all that was sent."""
    ada = await logged.member("ada")
    async with logged.feed(ada, headers={"X-Request-Id": "r-1"}) as stream:
        await stream.expect("hello")
        assert "r-1" not in logged.stream.getvalue()
    line = await logged.line("r-1")

    assert (line["route"], line["user"]) == ("/v1/feed", ada.id)
    assert line["bytes"] > 50
