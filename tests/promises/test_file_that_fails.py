"""Promise: a full disk, a locked file and a damaged file cause errors; no write is half done."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.config.settings import SettingsError
from service.http.services import SERVICES
from service.store.sqlite.store import SqliteStore
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.wait import BUSY_S

NAME = "𝄞" * 100
LOOKED_S = 0.15  # longer than the service waits between two looks at where its file is


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Server]:
    async with serve(store_url=f"sqlite:///{path}") as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "roster.db"


async def create(server: Server, by: Login, number: int) -> tuple[int, str | None, Any]:
    """Make a user with a long name: the status, `Retry-After` and the body."""
    body = {"username": f"made{number}", "email": f"made{number}@example.com", "name": NAME}
    async with server.request("POST", "/v1/users", by, json=body) as answer:
        return answer.status, answer.headers.get("Retry-After"), await answer.json()


@contextmanager
def by_pages(server: Server) -> Iterator[None]:
    """No room for what SQLite adds to its file; any user can have it so."""
    raw = store_of(server)._write_connection.raw
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {pages + 2}")
    yield
    raw.execute(f"PRAGMA max_page_count = {1 << 30}")


@contextmanager
def by_disk(server: Server) -> Iterator[None]:
    """No room on the disk, for the file or for what is beside it."""
    filler = store_of(server)._path.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    filler.unlink()


@pytest.fixture(params=[by_pages, by_disk])
def full(request: pytest.FixtureRequest, path: Path) -> Iterator[Callable[[Server], AbstractContextManager[None]]]:
    """Leaves no room where the file is, until the end of the block."""
    if request.param is by_pages:
        yield request.param
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path.parent], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only who may mount can make a small disk; the other case needs nothing")
    yield request.param
    subprocess.run(["umount", path.parent], check=True)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A shell is in the middle of a transaction, until the end of the block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        yield


async def test_full_disk_refuses_writes_and_nothing_else(
    path: Path, full: Callable[[Server], AbstractContextManager[None]]
) -> None:
    """Writes are answered 507, reads go on, nothing is half done, and with room again all is as before."""
    async with serving(path) as server:
        admin = await server.admin()
        made = [await create(server, admin, number) for number in range(3)]
        with full(server):
            answers = [await create(server, admin, number) for number in range(3, 200)]
            refused = [answer for answer in answers if answer[0] == 507]
            assert len(refused) > 10
            assert {answer[0] for answer in answers} <= {201, 507}
            assert refused[0][1] == "30"
            assert refused[0][2]["type"] == "/problems/insufficient-storage"
            together = await asyncio.gather(*(create(server, admin, number) for number in range(200, 240)))
            assert {answer[0] for answer in together} <= {201, 507}
            kept = [answer for answer in (*made, *answers, *together) if answer[0] == 201]
            for _, _, user in kept:
                assert (await server.json("GET", f"/v1/users/{user['id']}", admin))["version"] == user["version"]
            found = await server.json("GET", "/v1/users", admin, params={"q": "made", "limit": "100"})
            assert len(found["items"]) == min(len(kept), 100)
            login = {"login": "admin", "password": PASSWORD}
            await server.json("POST", "/v1/auth/login", json=login, status=401)
            await server.json("GET", "/health/ready")
        assert (await create(server, admin, 1000))[0] == 201
    whole(path)


async def test_locked_file_is_waited_for_and_then_refused(path: Path) -> None:
    """A shell in the middle of a transaction: writers get an error within two seconds, reads succeed."""
    async with serving(path) as server:
        admin = await server.admin()
        with held(path):
            began = asyncio.get_running_loop().time()
            answers = await asyncio.gather(*(create(server, admin, number) for number in range(200)))
            assert {answer[:2] for answer in answers} == {(503, "1")}
            assert asyncio.get_running_loop().time() - began < 2 + BUSY_S
            await server.json("GET", "/v1/users", admin)
        assert (await create(server, admin, 1))[0] == 201
    whole(path)


async def test_shell_that_is_soon_done_is_not_noticed(path: Path) -> None:
    """A writer that waits half a second for it succeeds."""
    async with serving(path) as server:
        admin = await server.admin()
        with held(path):
            writing = asyncio.create_task(create(server, admin, 1))
            await asyncio.sleep(0.5)  # what is tested is that time passes
        assert (await writing)[0] == 201


async def test_file_that_was_moved_away_is_not_written_to(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Writes to a moved file would be lost: requests are refused, readiness fails, the log says so once; put back, all is as
    before."""
    async with serving(path) as server:
        admin = await server.admin()
        away = path.with_name("away.db")
        with caplog.at_level(logging.CRITICAL, "roster.store"):
            os.rename(path, away)
            await asyncio.sleep(LOOKED_S)
            for _ in range(3):
                assert (await create(server, admin, 1))[:2] == (503, "1")
                await server.json("GET", f"/v1/users/{admin.id}", admin, status=503)
                await server.json("GET", "/health/ready", status=503)
            await server.json("GET", "/health/live")
        assert 1 <= len([record for record in caplog.records if "moved away" in record.message]) <= 2
        os.rename(away, path)
        await asyncio.sleep(LOOKED_S)
        assert (await create(server, admin, 1))[0] == 201
    whole(path)


async def test_file_that_is_broken_is_refused_with_a_line_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Data on a damaged page is answered 503, other data is returned."""
    async with serving(path) as server:
        admin = await server.admin()
    with closing(sqlite3.connect(path)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchall()
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
    async with serving(path) as server:
        with path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(os.urandom(size))
        # The service has read this page already, and holds it: a reader of its own does as a restart would.
        store_of(server)._reader.raw.execute("PRAGMA shrink_memory")
        with caplog.at_level(logging.ERROR, "roster.store"):
            await server.json("GET", "/v1/events?after=0", admin, status=503)
        assert any("SQLITE_CORRUPT" in str(record.__dict__.get("code")) for record in caplog.records)
        await server.json("GET", f"/v1/users/{admin.id}", admin)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_bytes(b"no database" * 1000), "cannot be used: file is not a database"),
        (lambda path: path.mkdir(), "cannot be used: Is a directory"),
    ],
    ids=["other file", "folder"],
)
async def test_file_that_is_none_is_one_sentence(path: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    """At the start it says what is wrong with which file."""
    spoil(path)
    with pytest.raises(SettingsError, match=f"ROSTER_STORE_URL: {path} {sentence}"):
        async with serving(path):
            pass


def store_of(server: Server) -> SqliteStore:
    store = server.app[SERVICES].store
    assert isinstance(store, SqliteStore)
    return store


def whole(path: Path) -> None:
    """Nothing is broken, and no user is without the event that gave it its version."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (alone,) = connection.execute(
            "SELECT count(*) FROM users WHERE NOT EXISTS (SELECT 1 FROM events WHERE seq = version AND subject = id)"
        ).fetchone()
        assert alone == 0
        seqs = [seq for (seq,) in connection.execute("SELECT seq FROM events ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
