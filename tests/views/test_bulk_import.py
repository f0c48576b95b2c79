"""Accounts in bulk, in."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher

from service.domain.audit import AuditQuery, AuditSource
from service.domain.errors import Unavailable
from service.domain.events.query import EventQuery
from service.domain.users.import_session import ImportSession
from service.http.services import SERVICES
from tests.support.drawn import repetitions
from tests.support.ndjson import NDJSON, ndjson, person, post_import
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.wait import until

PATH = "/v1/users/import"


def head(by: Login, *headers: str) -> bytes:
    """The beginning of an import whose body comes in chunks."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {by.access_token}",
        "Content-Type: application/x-ndjson",
        *(headers or ("Transfer-Encoding: chunked",)),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def problem_of(server: Server, by: Login, body: Any, status: int, **kwargs: Any) -> dict[str, Any]:
    """The problem that an import is answered with."""
    headers = {**NDJSON, **kwargs.pop("headers", {})}
    problem: dict[str, Any] = await server.json(
        "POST", kwargs.pop("path", PATH), by, status=status, data=body, headers=headers, **kwargs
    )
    return problem


async def seq(server: Server) -> int:
    return (await server.app[SERVICES].store.events.read_position()).seq


async def reached(server: Server, wanted: int) -> None:
    """Return once the log is there."""

    async def is_there() -> bool:
        return await seq(server) >= wanted

    await until(is_there, timeout=20)


# What it does


@pytest.mark.timeout(120)
async def test_reader_of_the_feed_sees_every_line_once_in_order(store_url: str) -> None:
    """Ten thousand lines become ten thousand users and as many events, which a live reader gets in the order of the lines,
    although the log keeps a tenth of them."""
    many = 10_000
    async with serve(store_url=store_url, event_retention_count=1_000, event_retention_s=0) as server:
        admin = await server.admin()
        async with server.feed(admin) as stream:
            hello = await stream.expect("hello")
            importing = asyncio.create_task(post_import(server, admin, map(person, range(many))))
            seen = [(await stream.expect("user.created", 30)).data for _ in range(many)]
            imported = await importing
        assert imported.counts == (many, 0, 0, 0)
        assert imported.refusals == []
        assert imported.summary["lines"] == many
        assert [event["user"]["username"] for event in seen] == [f"person{number}" for number in range(many)]
        epoch, _, before = hello.data["position"].partition("-")
        assert [event["id"] for event in seen] == [f"{epoch}-{int(before) + number}" for number in range(1, many + 1)]
        assert {event["actor"] for event in seen} == {admin.id}
        assert [event["user"]["version"] for event in seen] == [int(event["id"].split("-")[1]) for event in seen]
        assert imported.summary["position"] == seen[-1]["id"]


async def test_late_reader_finds_the_whole_import_while_it_runs(store_url: str) -> None:
    """While an import runs the log holds all of it: who follows from where it began, however late, misses nothing."""
    async with serve(store_url=store_url, event_retention_count=100, event_retention_s=0) as server:
        admin = await server.admin()
        began = await server.app[SERVICES].store.events.read_position()
        go_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield ndjson(map(person, range(2_000)))
            await go_on.wait()
            yield ndjson([person("last")])

        importing = asyncio.create_task(post_import(server, admin, body()))
        await reached(server, began.seq + 2_000)
        await server.json("POST", "/v1/users", admin, status=201, json=person("beside"))  # a commit that would trim
        async with server.feed(admin, params={"after": str(began), "limit": "2001"}) as stream:
            await stream.expect("hello")
            seen = [await stream.expect("user.created") for _ in range(2_001)]
        go_on.set()
        assert (await importing).counts == (2_001, 0, 0, 0)
        assert [frame.data["user"]["username"] for frame in seen] == [
            *(f"person{number}" for number in range(2_000)),
            "personbeside",
        ]


async def test_conflicts_are_what_was_asked_for(server: Server) -> None:
    """By default lines about existing users are refused by their number; or they are skipped, or applied."""
    admin = await server.admin()
    await post_import(server, admin, [person(1), person(2, name="Two")])
    again = [person(1, name="One"), person(2), person(3), person(3)]

    refused = await post_import(server, admin, again[:2])
    assert refused.counts == (0, 0, 0, 2)
    assert refused.refusals[0] == {
        "line": 1,
        "type": "/problems/already-exists",
        "detail": "Another account already has this username and this email.",
        "errors": [
            {"pointer": f"/{name}", "code": "already_exists", "detail": "Another account has this already."}
            for name in ("username", "email")
        ],
    }
    assert (await post_import(server, admin, again, "?on_conflict=skip")).counts == (1, 0, 3, 0)
    assert (await post_import(server, admin, again, "?on_conflict=update")).counts == (0, 1, 3, 0)
    listed = await server.json("GET", "/v1/users?sort=username&q=person", admin)
    assert [(user["username"], user["name"]) for user in listed["items"]] == [
        ("person1", "One"),
        ("person2", "Two"),
        ("person3", ""),
    ]


async def test_empty_body_is_an_empty_import(server: Server) -> None:
    """No lines, or blank ones alone, create no user; the last line needs no end."""
    admin = await server.admin()
    before = await seq(server)
    for body in (b"", b"\n", b"\n \r\n\t\n"):
        assert (await post_import(server, admin, body)).counts == (0, 0, 0, 0)
    assert await seq(server) == before

    body = b"\n\r\n" + json.dumps(person(1)).encode() + b"\r\n\n" + json.dumps(person(2)).encode()
    imported = await post_import(server, admin, body)
    assert (imported.counts, imported.summary["lines"]) == ((2, 0, 0, 0), 5)


async def test_body_may_be_longer_than_others_and_compressed() -> None:
    """The bound on bodies is one of lines here; a content coding is undone as elsewhere."""
    async with serve(max_body_bytes=1_000) as server:
        admin = await server.admin()
        body = ndjson(person(number, name="x" * 90) for number in range(200))
        assert len(body) > 20_000
        assert (await post_import(server, admin, body)).counts == (200, 0, 0, 0)
        body = gzip.compress(ndjson(person(f"zipped{number}") for number in range(200)))
        imported = await post_import(server, admin, body, headers={"Content-Encoding": "gzip"})
        assert imported.counts == (200, 0, 0, 0)


HOSTILE = [
    (b"{", "malformed-json", None),
    (b"absent", "malformed-json", None),
    (b"{}{}", "malformed-json", None),
    (b"\xef\xbb\xbf{}", "malformed-json", None),
    (b"\xff", "malformed-json", None),
    (b'{"username":"abc","username":"abd","email":"a@example.com"}', "malformed-json", None),
    (b'{"username":"abc","email":"a@example.com","age":NaN}', "malformed-json", None),
    (b'{"username":"abc","email":"a@example.com","name":"\\ud800"}', "malformed-json", None),
    (b'{"age":' + b"9" * 5_000 + b"}", "malformed-json", None),
    (b"[" * 2_000, "malformed-json", None),
    (b'{"name":"' + b"x" * 20_000 + b'"}', "payload-too-large", None),
    (b"x" * 300_000, "payload-too-large", None),
    (b"[]", "invalid-fields", ""),
    (b"null", "invalid-fields", ""),
    (b'"text"', "invalid-fields", ""),
    (b"{}", "invalid-fields", "/username"),
    (ndjson([person("0", unknown=1)]), "invalid-fields", "/unknown"),
    (ndjson([person("0", name="a\0b")]), "invalid-fields", "/name"),
    (ndjson([person("0", name="x" * 101)]), "invalid-fields", "/name"),
    (ndjson([person("0", name=None)]), "invalid-fields", "/name"),
    (ndjson([person("0", age=151)]), "invalid-fields", "/age"),
    (ndjson([person("0", age="36")]), "invalid-fields", "/age"),
    (ndjson([person("0", age=True)]), "invalid-fields", "/age"),
    (ndjson([person("0", role="owner")]), "invalid-fields", "/role"),
    (ndjson([person("0", active=1)]), "invalid-fields", "/active"),
    (ndjson([person("0", email="absent")]), "invalid-fields", "/email"),
    (ndjson([person("0", username="No Body")]), "invalid-fields", "/username"),
    (ndjson([person("0", id="1")]), "invalid-fields", "/id"),
    (ndjson([person("0", id=7)]), "invalid-fields", "/id"),
    (ndjson([person("0", id="{0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11}")]), "invalid-fields", "/id"),
    (ndjson([person("0", created_at="yesterday")]), "invalid-fields", "/created_at"),
    (ndjson([person("0", created_at=0)]), "invalid-fields", "/created_at"),
    (ndjson([person("0", created_at="2026-11-21T09:30:00")]), "invalid-fields", "/created_at"),
    (ndjson([person("0", created_at="2026-02-30T09:30:00Z")]), "invalid-fields", "/created_at"),
    (ndjson([person("0", created_at="0001-01-01T00:00:00+14:00")]), "invalid-fields", "/created_at"),
    (ndjson([person("0", created_at="2026-11-21T09:30:60Z")]), "invalid-fields", "/created_at"),
    (ndjson([person("0", password="short")]), "invalid-fields", "/password"),
    (ndjson([person("0", password_hash="plain")]), "invalid-fields", "/password_hash"),
    (ndjson([person("0", password_hash="$2b$31$" + "a" * 53)]), "invalid-fields", "/password_hash"),
    (ndjson([person("0", password_hash="$argon2id$v=19$m=4194304,t=9,p=1$c29tZXNhbHQ$" + "a" * 43)]), "invalid-fields", "/password_hash"),
    (ndjson([person("0", password=PASSWORD, password_hash="$2b$04$" + "a" * 53)]), "invalid-fields", "/password_hash"),
]  # fmt: skip


async def test_hostile_lines_are_refused_each_by_itself(store_url: str) -> None:
    """A line that cannot be read or breaks a rule is refused by its number, with the reason and the field; those around it
    are carried out, and no value is repeated."""
    async with serve(store_url=store_url, max_body_bytes=10_000) as server:
        admin = await server.admin()
        body = b"".join(
            ndjson([person(number)]) + line.removesuffix(b"\n") + b"\n"
            for number, (line, _, _) in enumerate(HOSTILE, 1)
        )
        imported = await post_import(server, admin, body)

    assert imported.counts == (len(HOSTILE), 0, 0, len(HOSTILE))
    assert [refusal["line"] for refusal in imported.refusals] == [2 * number for number in range(1, len(HOSTILE) + 1)]
    for refusal, (line, slug, pointer) in zip(imported.refusals, HOSTILE, strict=True):
        assert refusal["type"] == f"/problems/{slug}", line[:80]
        assert refusal["detail"]
        assert [error["pointer"] for error in refusal["errors"]][:1] == ([] if pointer is None else [pointer]), line[
            :80
        ]
        assert "person0" not in json.dumps(refusal)


async def test_refusals_are_kept_up_to_a_bound(server: Server) -> None:
    """A file of rubbish is answered with its first refusals, and how many more there were."""
    admin = await server.admin()
    imported = await post_import(server, admin, b"rubbish\n" * 10_100)
    assert imported.counts == (0, 0, 0, 10_100)
    assert (len(imported.refusals), imported.summary["omitted"]) == (10_000, 100)

    wordy = ndjson({"x" * 190 + str(number): 1 for number in range(60)} for _ in range(500))
    imported = await post_import(server, admin, wordy)
    told = sum(len(json.dumps(refusal, separators=(",", ":"))) for refusal in imported.refusals)
    assert imported.summary["omitted"] == 500 - len(imported.refusals) > 0
    assert 4 << 20 <= told < (4 << 20) + 30_000


# Passwords


async def test_hashes_of_others_log_in_and_are_made_anew(store_url: str) -> None:
    """A user with an imported bcrypt or argon2 hash logs in with its password, and then has a hash of ours."""
    hashes = {
        "bcrypt": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
        "php": "$2y$" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:],
        "argon2": PasswordHasher(time_cost=3, memory_cost=256, parallelism=2).hash(PASSWORD),
    }
    async with serve(store_url=store_url) as server:
        admin = await server.admin()
        rows = [person(name, password_hash=password_hash) for name, password_hash in hashes.items()]
        assert (await post_import(server, admin, [*rows, person("clear", password=PASSWORD), person("none")])).counts[
            0
        ] == 5
        for name in hashes:
            wrong = {"login": f"person{name}", "password": "not " + PASSWORD}
            await server.json("POST", "/v1/auth/login", status=401, json=wrong)
            kept = await server.app[SERVICES].store.users.find_by_login(f"person{name}")
            assert kept is not None
            assert kept.password_hash == hashes[name]
            for _ in range(2):
                await server.log_in(f"person{name}")
            kept = await server.app[SERVICES].store.users.find_by_login(f"person{name}")
            assert kept is not None
            assert (kept.password_hash or "").startswith("$argon2id$v=19$m=64,t=1,p=1$")
        await server.log_in("personclear")
        nobody = {"login": "personnone", "password": PASSWORD}
        await server.json("POST", "/v1/auth/login", status=401, json=nobody)


async def test_passwords_of_those_who_are_there_are_not_hashed(server: Server) -> None:
    """Sending the same again with `skip` costs no hash; `update` hashes, and ends the sessions of the old password."""
    admin = await server.admin()
    rows = [person(number, password=PASSWORD) for number in range(3)]
    await post_import(server, admin, rows)
    before = await server.log_in("person0")
    hashed = 0
    real = server.app[SERVICES].hasher.hash

    async def counting(password: str) -> str:
        nonlocal hashed
        hashed += 1
        return await real(password)

    server.app[SERVICES].hasher.hash = counting  # type: ignore[method-assign]  # only to be counted
    assert (await post_import(server, admin, rows, "?on_conflict=skip")).counts == (0, 0, 3, 0)
    assert hashed == 0
    assert (await post_import(server, admin, rows[:1], "?on_conflict=update")).counts == (0, 1, 0, 0)
    assert hashed == 1
    await server.json("GET", "/v1/users/me", before, status=401)


async def test_import_waits_where_logins_keep_the_threads_busy(server: Server) -> None:
    """A password that cannot be hashed now is hashed a little later."""
    admin = await server.admin()
    refused = 0
    real = server.app[SERVICES].hasher.hash

    async def busy(password: str) -> str:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise Unavailable
        return await real(password)

    server.app[SERVICES].hasher.hash = busy  # type: ignore[method-assign]  # a queue that is full just now
    assert (await post_import(server, admin, [person(1, password=PASSWORD)])).counts == (1, 0, 0, 0)
    await server.log_in("person1")


# Who may, and with what


async def test_only_administrators_import(server: Server) -> None:
    """A member gets 403, a stranger 401; the body is not read."""
    member = await server.member()
    body = ndjson([person(1)])
    assert (await problem_of(server, member, body, 403))["type"] == "/problems/forbidden"
    await server.json("POST", PATH, status=401, data=body, headers=NDJSON)
    await server.json("GET", PATH, member, status=405)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-ndjson; charset=utf-16"])
async def test_other_types_are_refused(server: Server, kind: str) -> None:
    """The answer names the type that is read."""
    admin = await server.admin()
    async with server.request("POST", PATH, admin, data=b"{}", headers={"Content-Type": kind}) as answer:
        assert answer.status == 415
        assert answer.headers["Accept"] == "application/x-ndjson"


@pytest.mark.parametrize("query", ["?on_conflict=replace", "?on_conflict=skip&on_conflict=skip", "?unknown=1"])
async def test_bad_query_is_refused(server: Server, query: str) -> None:
    """A parameter that is not what it must be is named."""
    await problem_of(server, await server.admin(), b"", 400, path=PATH + query)


async def test_so_many_run_at_once(server: Server) -> None:
    """A third import gets a retry time; when one has ended there is a place again."""
    admin = await server.admin()
    go_on = asyncio.Event()

    async def body(name: str) -> AsyncIterator[bytes]:
        yield ndjson([person(name)])
        await go_on.wait()

    running = [asyncio.create_task(post_import(server, admin, body(name))) for name in ("a", "b")]
    await until(lambda: server.app[SERVICES].bulk_jobs.running("import") == 2)
    async with server.request("POST", PATH, admin, data=b"", headers=NDJSON) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    go_on.set()
    await asyncio.gather(*running)
    assert (await post_import(server, admin, [])).counts == (0, 0, 0, 0)


# Cut short


async def test_client_that_dies_leaves_whole_batches(store_url: str) -> None:
    """Batches that were written before the client disconnected stay; the same again with `skip` imports the rest."""
    rows = [person(number) for number in range(1_700)]
    async with serve(store_url=store_url) as server:
        admin = await server.admin()
        before = await seq(server)
        async with raw_peer(server.port) as peer:
            await peer.send(head(admin) + chunked(ndjson(rows[:1_250])))
            await reached(server, before + 1_000)
            peer.writer.transport.abort()
        await until(lambda: server.app[SERVICES].bulk_jobs.running("import") == 0)
        assert await seq(server) == before + 1_000
        assert (await post_import(server, admin, rows, "?on_conflict=skip")).counts == (700, 0, 1_000, 0)
        page = await server.app[SERVICES].store.events.list_page(EventQuery(before, 5_000))
        assert [event.user and event.user.username for event in page.events] == [row["username"] for row in rows]


async def test_batch_that_is_written_when_the_client_goes_away_is_counted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit entry of the end counts every batch, also one that was committed after its client had gone."""
    admin = await server.admin()
    store, tasks, gate = server.app[SERVICES].store, asyncio.all_tasks, asyncio.Event()
    real, settle = store.write, ImportSession._finish_batch
    writes = settles = 0

    async def slow(work: Any, by: AuditSource) -> Any:
        nonlocal writes
        writes += 1
        if writes == 2:  # the first holds the log
            await gate.wait()
        return await real(work, by)

    async def counted(session: ImportSession) -> None:
        nonlocal settles
        settles += 1
        await settle(session)

    store.write = slow  # type: ignore[method-assign]  # a disk that takes its time
    monkeypatch.setattr(ImportSession, "_finish_batch", counted)
    async with raw_peer(server.port) as peer:
        await peer.send(head(admin) + chunked(ndjson(person(number) for number in range(1_100))))
        await until(lambda: settles == 2)  # the second batch waits for the first
        peer.writer.transport.abort()
        running = server.app[SERVICES].bulk_jobs.running
        await until(lambda: not running("import") or any(task.cancelling() for task in tasks()))
    gate.set()
    ended = AuditQuery(limit=1, action="import.ended")

    async def counts() -> Any:
        return [entry.details for entry in await store.audit.list_page(ended)]

    await until(counts)
    assert await counts() == [{"lines": 500, "created": 500, "updated": 0, "skipped": 0, "refused": 0}]


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 1000000"])
async def test_silent_client_receives_its_progress(framing: str) -> None:
    """Where no byte comes for `BODY_TIMEOUT_S` the import ends with 408 and its progress; bytes that come slowly do not
    end it."""
    async with serve(body_timeout_s=0.5) as server:
        admin = await server.admin()
        before = await seq(server)
        body = ndjson(map(person, range(700)))
        wrap = chunked if framing.startswith("T") else bytes
        async with raw_peer(server.port) as peer:
            await peer.send(head(admin, framing) + wrap(body))
            for _ in range(4):
                await asyncio.sleep(0.15)  # soon enough, and with the others longer than the bound
                await peer.send(wrap(b" "))
            answer = await peer.answer()
        problem = json.loads(answer.body)
        assert (answer.status, problem["type"]) == (408, "/problems/request-timeout")
        epoch = (await server.app[SERVICES].store.events.read_position()).epoch
        assert problem["progress"] == {
            "lines": 500,
            "created": 500,
            "updated": 0,
            "skipped": 0,
            "refused": 0,
            "position": f"{epoch}-{before + 500}",
        }
        assert await seq(server) == before + 500


async def test_broken_coding_is_reported_with_the_progress(server: Server) -> None:
    """A body that stops being what its headers announce ends the import with 400."""
    admin = await server.admin()
    before = await seq(server)
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(ndjson(map(person, range(700)))) + packer.flush(zlib.Z_SYNC_FLUSH)
    async with raw_peer(server.port) as peer:
        await peer.send(head(admin, "Transfer-Encoding: chunked", "Content-Encoding: gzip"))
        await peer.send(chunked(packed))
        await reached(server, before + 500)
        await peer.send(chunked(b"\xff" * 1_000))
        answer = await peer.answer()
    assert (answer.status, json.loads(answer.body)["progress"]["created"]) == (400, 500)


async def test_failing_store_is_reported_with_the_progress(server: Server) -> None:
    """Where the store goes away in the middle, the answer is its 503, when to come back, and how far it got."""
    admin = await server.admin()
    real = server.app[SERVICES].store.write
    writes = 0

    async def failing(work: Any, by: AuditSource) -> Any:
        nonlocal writes
        writes += 1
        if writes == 4:  # the first holds the log
            raise Unavailable(3)
        return await real(work, by)

    server.app[SERVICES].store.write = failing  # type: ignore[method-assign]  # a store that goes away
    rows = [person(number) for number in range(2_000)]
    async with server.request("POST", PATH, admin, data=ndjson(rows), headers=NDJSON) as answer:
        problem = await answer.json()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert (problem["progress"]["lines"], problem["progress"]["created"]) == (1_000, 1_000)
    server.app[SERVICES].store.write = real  # type: ignore[method-assign]  # it is back
    assert (await post_import(server, admin, rows, "?on_conflict=skip")).counts == (1_000, 0, 1_000, 0)


@pytest.mark.parametrize("change", [{"role": "member"}, {"active": False}])
async def test_import_ends_with_the_rights_to_it(server: Server, change: dict[str, Any]) -> None:
    """A user who is no administrator any more, or is gone, imports nothing more."""
    admin = await server.admin()
    await post_import(server, admin, [person("deputy", role="admin", password=PASSWORD)])
    deputy = await server.log_in("persondeputy")
    before = await seq(server)
    async with raw_peer(server.port) as peer:
        await peer.send(head(deputy) + chunked(ndjson(map(person, range(500)))))
        await reached(server, before + 500)
        await server.json("PATCH", f"/v1/users/{deputy.id}", admin, json=change)
        await peer.send(chunked(ndjson(map(person, range(500, 1_000)))))
        answer = await peer.answer()
    assert answer.status == (403 if "role" in change else 401)
    assert json.loads(answer.body)["progress"]["created"] == 500
    assert await server.app[SERVICES].store.users.find_by_login("person500") is None


async def test_import_that_runs_when_the_service_stops_says_how_far_it_got() -> None:
    """On SIGTERM an import ends after its last batch, with 503 and its progress, and does not keep the process."""
    async with serve() as server:
        admin = await server.admin()
        before = await seq(server)
        async with raw_peer(server.port) as peer:
            await peer.send(head(admin) + chunked(ndjson(map(person, range(700)))))
            await reached(server, before + 500)
            stopping = asyncio.create_task(server.app.shutdown())
            answer = await peer.answer()
            await stopping
    problem = json.loads(answer.body)
    assert (answer.status, problem["progress"]["lines"]) == (503, 500)


# What it costs others


async def test_no_more_is_taken_than_is_written(server: Server) -> None:
    """While a batch waits to be written, the client has to wait as well: nothing piles up here."""
    admin = await server.admin()
    store = server.app[SERVICES].store
    go_on, real = asyncio.Event(), store.write

    async def slow(work: Any, by: AuditSource) -> Any:
        await go_on.wait()
        return await real(work, by)

    sent = 0
    row = ndjson([person("same", name="x" * 80)])

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(400):
            yield row * 500
            sent += 500 * len(row)

    importing = asyncio.create_task(post_import(server, admin, body(), "?on_conflict=skip"))
    await until(lambda: server.app[SERVICES].bulk_jobs.running("import") == 1)
    store.write = slow  # type: ignore[method-assign]  # a store that takes its time
    before = -1
    while sent > before:  # until nothing more goes out for half a second
        before = sent
        await asyncio.sleep(0.5)
    assert sent < 16 << 20 < 400 * 500 * len(row)
    importing.cancel()  # what follows would be written like any other import
    await asyncio.wait([importing])
    go_on.set()
    await until(lambda: server.app[SERVICES].bulk_jobs.running("import") == 0)


@pytest.mark.drawn
async def test_bomb_of_one_line_is_not_kept(server: Server) -> None:
    """A line of many megabytes in a thousandth of that is thrown away as it unfolds."""
    admin = await server.admin()
    bomb = gzip.compress(b" " * (repetitions(200, 60) << 20))
    tracemalloc.start()
    try:
        imported = await post_import(server, admin, bomb, headers={"Content-Encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert imported.counts == (0, 0, 0, 1)
    assert peak < 20 << 20
