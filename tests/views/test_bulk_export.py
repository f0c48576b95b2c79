"""Accounts in bulk, out."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientPayloadError

from service.domain.errors import Unavailable
from service.domain.ports import Snapshot, Store
from service.domain.users.user import User
from service.http.services import SERVICES
from tests.support.drawn import repetitions
from tests.support.ndjson import export, ndjson, person, post_import
from tests.support.peer import raw_peer
from tests.support.server import Login, Server, serve
from tests.support.wait import until

PATH = "/v1/users/export"


def asking(by: Login, version: str = "1.1") -> str:
    lines = [f"GET {PATH} HTTP/{version}", "Host: 127.0.0.1", f"Authorization: Bearer {by.access_token}"]
    return "\r\n".join(lines) + "\r\n\r\n"


@pytest.mark.drawn
@pytest.mark.timeout(120)
async def test_export_and_feed_are_the_whole_of_it(store_url: str) -> None:
    """An export is true at its position although writes continue; with the feed after it no event is missed."""
    half = repetitions(3_000, 1_500)
    async with serve(store_url=store_url) as server:
        admin = await server.admin()
        await post_import(server, admin, map(person, range(half)))
        writing = asyncio.create_task(post_import(server, admin, map(person, range(half, 2 * half))))
        change = {"name": "changed meanwhile"}
        exports = []
        while not writing.done():
            exports.append(await export(server, admin))
            await server.json("PATCH", f"/v1/users/{exports[-1][0][1]['id']}", admin, json={"name": f"{len(exports)}"})
        await writing
        await server.json("PATCH", f"/v1/users/{exports[0][0][2]['id']}", admin, json=change)
        head = (await server.app[SERVICES].store.events.read_position()).seq

        wanted = (await export(server, admin))[0]
        for users, position in (exports[0], exports[len(exports) // 2], exports[-1]):
            seq = int(position.partition("-")[2])
            assert max(user["version"] for user in users) == seq
            held = {user["id"]: user for user in users}
            limit = {"after": position, "limit": str(head - seq)}
            async with server.feed(admin, params=limit) as stream:
                await stream.expect("hello")
                for _ in range(head - seq):
                    frame = await stream.next()
                    assert frame is not None
                    held[frame.data["subject"]] = frame.data["user"]
            assert sorted(held.values(), key=lambda user: int(user["version"])) == wanted


async def test_export_can_be_imported_elsewhere(store_url: str) -> None:
    """The export of one service can be imported by another: the same accounts with their ids and ages, without passwords."""
    rows = [
        person("é", username="accent", name="Zoë 👩‍🚀", age=0),
        person("admin", role="admin", age=150),
        person("gone", active=False),
        person("mixed", email="Mixed.Case@Example.COM"),
        *map(person, range(700)),
    ]
    async with serve() as one, serve(store_url=store_url) as other:
        admin = await one.admin()
        rows[0]["email"] = "zoë@example.com"
        assert (await post_import(one, admin, rows)).refusals == []
        users, _ = await export(one, admin)
        there = await other.admin()
        imported = await post_import(other, there, ndjson(users), "?on_conflict=skip")
        assert imported.counts == (704, 0, 1, 0)
        moved, position = await export(other, there)
        again = await post_import(other, there, ndjson(moved), "?on_conflict=update")
        assert again.counts == (0, 0, 705, 0)
        assert str(await other.app[SERVICES].store.events.read_position()) == position

    same = ("id", "username", "email", "name", "age", "role", "active", "created_at")
    assert [{name: user[name] for name in same} for user in moved[1:]] == [
        {name: user[name] for name in same} for user in users[1:]
    ]


async def test_answer_says_what_it_is(server: Server) -> None:
    """Type, a name to keep it under, who may keep it, and where to go on; HEAD says the same without the users."""
    admin = await server.admin()
    found = []
    for method in ("GET", "HEAD"):
        async with server.request(method, PATH, admin) as answer:
            text = await answer.text()
            found.append({name: answer.headers[name] for name in ("Content-Type", "Cache-Control", "Roster-Position")})
            assert answer.headers["Content-Disposition"] == 'attachment; filename="users.ndjson"'
            assert text.count("\n") == 2 * (method == "GET")
            assert "Content-Length" not in answer.headers
    assert found[0] == found[1]
    assert found[0]["Cache-Control"] == "private, no-cache"
    user = await server.json("GET", "/v1/users/me", admin)
    assert (await export(server, admin))[0] == [user]


async def test_http_1_0_is_answered_until_the_end_of_the_connection(server: Server) -> None:
    """Without chunks, which a client of 1.0 does not know."""
    admin = await server.admin()
    await post_import(server, admin, map(person, range(1_000)))
    async with raw_peer(server.port) as peer:
        await peer.send(asking(admin, "1.0"))
        answer = await peer.answer()
    assert "transfer-encoding" not in answer.headers
    assert len([json.loads(line) for line in answer.body.splitlines()]) == 1_002


async def test_only_administrators_export(server: Server) -> None:
    """A member gets 403, a stranger 401."""
    await server.json("GET", PATH, await server.member(), status=403)
    await server.json("GET", PATH, status=401)


class Breaking:
    """A store whose export breaks off after the first page."""

    def __init__(self, store: Store) -> None:
        self._real = store.users.stream_all

    @asynccontextmanager
    async def stream_all(self) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[User]]]]:
        async with self._real() as (pages, position):

            async def broken() -> AsyncIterator[Sequence[User]]:
                async for page in pages:
                    yield page
                    raise Unavailable

            yield Snapshot(broken(), position)


async def test_export_that_breaks_off_does_not_look_whole(server: Server) -> None:
    """Where the store goes away in the middle the connection is cut, and the client knows; the next one is served."""
    admin = await server.admin()
    await post_import(server, admin, map(person, range(2_000)))
    store = server.app[SERVICES].store
    store.users.stream_all = Breaking(store).stream_all  # type: ignore[method-assign]  # a store that goes away
    async with server.request("GET", PATH, admin) as answer:
        assert answer.status == 200
        with pytest.raises((ClientPayloadError, ConnectionError)):
            await answer.read()
    assert server.app[SERVICES].bulk_jobs.running("export") == 0


async def test_reader_who_takes_nothing_is_cut_off(store_url: str) -> None:
    """A client that requests everything and reads nothing is disconnected after its timeout; until then two have the places."""
    async with serve(store_url=store_url, slow_client_timeout_s=0.5, send_buffer=8_192) as server:
        admin = await server.admin()
        await post_import(server, admin, (person(number, name="x" * 100) for number in range(3_000)))
        running = server.app[SERVICES].bulk_jobs.running
        peers = []
        for _ in range(2):
            raw = socket.create_connection(("127.0.0.1", server.port))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            raw.sendall(asking(admin).encode())
            peers.append(raw)
        try:
            await until(lambda: running("export") == 2)
            async with server.request("GET", PATH, admin) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            await server.json("POST", "/v1/users", admin, status=201, json=person("meanwhile"))
            await until(lambda: running("export") == 0)
        finally:
            for raw in peers:
                raw.close()
        assert len((await export(server, admin))[0]) == 3_002


async def test_client_that_leaves_frees_its_place() -> None:
    """A client that disconnects early frees its place."""
    async with serve(send_buffer=16_384) as server:
        admin = await server.admin()
        await post_import(server, admin, (person(number, name="x" * 100) for number in range(2_000)))
        async with raw_peer(server.port, receive_buffer=1024) as peer:
            await peer.send(asking(admin))
            await peer.reader.readuntil(b"\r\n\r\n")
            assert server.app[SERVICES].bulk_jobs.running("export") == 1
        await until(lambda: server.app[SERVICES].bulk_jobs.running("export") == 0)


async def test_import_compares_the_end_line_of_an_export(server: Server) -> None:
    """A whole export is imported as it is; one with a line missing, repeated or added after its end is 400, with how far it got."""
    admin = await server.admin()
    await post_import(server, admin, map(person, range(3)))
    async with server.request("GET", PATH, admin) as answer:
        lines = (await answer.read()).splitlines(keepends=True)
    assert json.loads(lines[-1]) == {"end": True, "users": 4, "position": answer.headers["Roster-Position"]}

    imported = await post_import(server, admin, b"".join(lines) + b"\n", "?on_conflict=skip")
    assert (imported.counts, imported.summary["lines"]) == ((0, 0, 4, 0), 4)
    assert (await post_import(server, admin, b"".join(lines[:-1]), "?on_conflict=skip")).counts == (0, 0, 4, 0)
    ends = [b'{"end":true,"users":4}', b'{"end":true,"users":true}', b'{"end":1,"users":0}', b'{"end":true}']
    for body in (
        lines[1:],
        lines[:1] + lines,
        [*lines, lines[-1]],
        [*lines, b"rubbish"],
        *([lines[0], end] for end in ends),
    ):
        data, headers = b"".join(body), {"Content-Type": "application/x-ndjson"}
        problem = await server.json("POST", "/v1/users/import", admin, status=400, data=data, headers=headers)
        assert problem["type"] == "/problems/bad-request"
        assert problem["progress"]["lines"] == 0
