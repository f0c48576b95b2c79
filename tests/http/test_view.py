"""The base view: reading bodies and queries, HEAD and OPTIONS, writes that outlive their client."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from service.http.view import View
from service.routes import routes
from tests.support.peer import raw_peer
from tests.support.server import ADMIN_PASSWORD, Server, serve
from tests.support.wait import until

JSON = {"Content-Type": "application/json"}
LOGIN = b'{"login":"admin","password":"' + ADMIN_PASSWORD.encode() + b'"}'
VIEWS: list[tuple[str, type[View]]] = [
    (route.path, route.handler)  # type: ignore[attr-defined]  # the table holds views alone
    for route in routes
]
STREAMS = ("/v1/feed", "/v1/rooms/{room}/feed", "/v1/ws", "/v1/echo")


def path_of(template: str) -> str:
    an_id = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
    values = {"id": an_id, "slug": "not-found", "room": "lobby", "name": "{name}"}
    return template.format_map(values)


async def send(server: Server, body: bytes, **headers: str) -> tuple[int, Any]:
    """A login with exactly this body."""
    async with server.request("POST", "/v1/auth/login", data=body, headers=JSON | headers) as answer:
        return answer.status, await answer.json()


# Methods


async def test_head_is_get_without_a_body(server: Server) -> None:
    """Wherever there is GET there is HEAD, with the same status and headers (RFC 9110, 9.3.2)."""
    admin = await server.admin()
    paths = [template for template, view in VIEWS if "GET" in view.operations and template not in STREAMS]
    for path in map(path_of, [*paths, f"/v1/users/{admin.id}"]):
        async with server.request("GET", path, admin) as got, server.request("HEAD", path, admin) as asked:
            assert (asked.status, await asked.read()) == (got.status, b"")
            for name in got.headers:
                # A problem names its request, and the metrics count it: neither has the same length twice.
                # Without a body, a missing length is allowed (RFC 9112, 6.1).
                if name.lower() not in ("date", "x-request-id", "transfer-encoding") and (
                    name != "Content-Length" or (got.status == 200 and path.startswith("/v1/users"))
                ):
                    assert asked.headers.get(name) == got.headers[name], (path, name)


async def test_options_tells_the_methods(server: Server) -> None:
    """OPTIONS returns the allowed methods, without credentials."""
    for template, view in VIEWS:
        async with server.request("OPTIONS", path_of(template)) as answer:
            assert (answer.status, await answer.read()) == (204, b"")
            allowed = {method.strip() for method in answer.headers["Allow"].split(",")}
        assert allowed == {*view.operations, "OPTIONS"}


async def test_other_methods_are_405_with_those_that_are(server: Server) -> None:
    """A method that a path does not have answers 405 and names those that it has, with or without credentials."""
    admin = await server.admin()
    for template, view in VIEWS:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "QUERY"):
            if method in view.operations:
                continue
            for by in (None, admin):
                async with server.request(method, path_of(template), by) as answer:
                    problem = await answer.json()
                assert (answer.status, problem["type"]) == (405, "/problems/method-not-allowed"), (method, template)
                allowed = {name.strip() for name in answer.headers["Allow"].split(",")}
                assert allowed == {*view.operations, "OPTIONS"}


async def test_unknown_path_is_404_for_everybody(server: Server) -> None:
    """A path that is not there is not there, whatever is asked of it and by whom."""
    admin = await server.admin()
    for path in ("/v1", "/v2/users", "/v1/users/", "/v1/nothing", "/.env", "/v1/auth/login/"):
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            for by in (None, admin):
                problem = await server.json(method, path, by, status=404)
                assert problem["type"] == "/problems/not-found"


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"login":"admin",}',
        b"{'login':'admin'}",
        b'{"login":"admin","login":"root","password":"x"}',
        b'{"login":NaN,"password":"x"}',
        b'{"login":"\xff","password":"x"}',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"[" * 16_000,
        b'{"login":' + b"1" * 5_000 + b"}",
        b'{"login":"\\ud800","password":"x"}',
        '{"login":"admin"}'.encode("utf-16"),
    ],
)
async def test_what_is_no_json_is_400(server: Server, body: bytes) -> None:
    """A body that is not one JSON text with each name once is refused before any rule is looked at."""
    status, problem = await send(server, body) if body else await send(server, b" ")

    assert (status, problem["type"]) == (400, "/problems/malformed-json")
    assert "errors" not in problem


async def test_json_that_breaks_a_rule_is_422(server: Server) -> None:
    """A body that is JSON and not what was asked for is refused with a pointer to each field."""
    for body, pointers in {
        b"[]": [""],
        b"null": [""],
        b'"x"': [""],
        b"{}": ["/login", "/password"],
        b'{"login":1,"password":"x"}': ["/login"],
    }.items():
        status, problem = await send(server, body)
        assert (status, problem["type"]) == (422, "/problems/invalid-fields")
        assert [error["pointer"] for error in problem["errors"]] == pointers


async def test_other_types_are_415_with_those_that_are_read(server: Server) -> None:
    """A body of another type or charset is refused, with the accepted ones."""
    for given in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "",
    ):
        async with server.request("POST", "/v1/auth/login", data=LOGIN, headers={"Content-Type": given}) as answer:
            assert (answer.status, answer.headers["Accept"]) == (415, "application/json")
    for given in ("application/json", "Application/JSON; charset=UTF-8", 'application/json; charset="utf-8"'):
        async with server.request("POST", "/v1/auth/login", data=LOGIN, headers={"Content-Type": given}) as answer:
            assert answer.status == 200


async def test_packed_bodies_are_read_or_refused(server: Server) -> None:
    """gzip is decoded; invalid gzip is 400, and an unknown coding 415."""
    admin = await server.admin()
    new = b'{"username":"ada","email":"ada@example.com"}'
    for body, coding, status in ((gzip.compress(new), "gzip", 201), (b"no gzip", "gzip", 400)):
        headers = JSON | {"Content-Encoding": coding}
        await server.json("POST", "/v1/users", admin, status=status, data=body, headers=headers)
    for coding in ("gzip, gzip", "foo"):
        async with server.request(
            "POST", "/v1/users", admin, data=new, headers=JSON | {"Content-Encoding": coding}
        ) as answer:
            assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate")


async def test_large_bodies_are_413() -> None:
    """A body over the limit is refused, announced or not, packed or not; one at the limit is read."""
    async with serve(max_body_bytes=1_000) as server:
        fits = LOGIN + b" " * (1_000 - len(LOGIN))
        assert (await send(server, fits))[0] == 200
        admin = await server.admin()
        for path, by, body, headers in (
            ("/v1/auth/login", None, fits + b" ", JSON),
            ("/v1/users", admin, gzip.compress(b" " * 1_000_000), JSON | {"Content-Encoding": "gzip"}),
        ):
            problem = await server.json("POST", path, by, status=413, data=body, headers=headers)
            assert problem["type"] == "/problems/payload-too-large"
            assert "1,000 bytes" in problem["detail"]
        async with raw_peer(server.port) as peer:
            await peer.send("POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            await peer.send("Transfer-Encoding: chunked\r\n\r\n" + f"400\r\n{' ' * 1024}\r\n" * 2)
            assert (await peer.answer()).status == 413


async def test_body_that_does_not_come_is_408() -> None:
    """A body that has not arrived in time is answered with 408, and the connection ends by it."""
    async with serve(body_timeout_s=0.05) as server, raw_peer(server.port) as peer:
        await peer.send(
            "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        answer = await peer.answer()

        assert (answer.status, answer.headers["connection"]) == (408, "close")


# Queries


async def test_parameter_stands_once(server: Server) -> None:
    """A parameter that stands twice is refused: two readers would not agree on which one counts."""
    admin = await server.admin()
    for query in ("limit=1&limit=1", "q=a&q=b"):
        problem = await server.json("GET", f"/v1/users?{query}", admin, status=400)
        assert problem["type"] == "/problems/bad-request"


# Writes


async def test_write_goes_on_when_its_client_leaves(server: Server) -> None:
    """A client that drops its connection after asking for a change leaves the change done, many times over."""
    ada = await server.member("ada")
    for number in range(20):
        body = f'{{"name":"{number}"}}'
        async with raw_peer(server.port) as peer:
            await peer.send(
                f"PATCH /v1/users/{ada.id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.access_token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            )
            for _ in range(number % 5):
                await asyncio.sleep(0)
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "change user"])

    async with server.request("GET", f"/v1/users/{ada.id}", ada) as answer:
        user = await answer.json()
    events = (await server.json("GET", "/v1/events?types=user.updated&limit=100", ada))["items"]
    assert events[-1]["user"] == user
    assert [event["changed"] for event in events] == [["name"]] * len(events)
