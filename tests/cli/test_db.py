"""`roster db …`, as a person meets it."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from service.store.sql import schema
from tests.support.command import run_command, start_command
from tests.support.maintenance import contents, fill, opened
from tests.support.server import serve
from tests.support.wait import until


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/roster.db"


async def db(url: str, *command: str) -> tuple[int, str]:
    """What `roster db` ends with, and what it says."""
    return await run_command("db", *command, ROSTER_STORE_URL=url)


async def test_tables_are_made_and_taken_away(url: str) -> None:
    """Up to the newest, or as far as is said; back only where it is said that data may be lost."""
    name = url.removeprefix("sqlite:///")
    assert await db(url, "upgrade") == (0, f"{name}: tables of revision {schema.REVISION}\n")
    code, text = await db(url, "downgrade", "base")
    assert (code, text.endswith("is lost: add --yes.\n")) == (1, True)
    assert await db(url, "downgrade", "base", "--yes") == (0, f"{name}: tables of revision base\n")
    assert await db(url, "upgrade", "0001") == (0, f"{name}: tables of revision 0001\n")


async def test_check_tells_what_there_is(url: str) -> None:
    """And ends with 0; with 1 and a sentence, where something must not be."""
    async with opened(url) as store:
        await fill(store)
        position = await store.events.read_position()
        code, text = await db(url, "check")
    assert code == 0
    assert "users   2\n" in text
    assert f"epoch {position.epoch}, head 5\n" in text
    assert "events  5 from 1 to 5\n" in text

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq = 3")
    code, text = await db(url, "check")
    assert code == 1
    assert "roster: " in text
    assert "holds 4 of 1 to 5." in text


async def test_client_from_before_a_restore_is_reset(url: str, tmp_path: Path) -> None:
    """Users, passwords, sessions and the key that signs tokens are there again; a position of then is `reset epoch`."""
    file = str(tmp_path / "backup.db")
    async with serve(store_url=url, jwt_secret="") as server:
        ada = await server.member("ada")
        position = await server.head(ada)
        assert (await db(url, "backup", file))[0] == 0
        await server.member("bob")
    code, text = await db(url, "restore", file)
    assert (code, text.endswith("holds 3 users, which would be lost: add --yes.\n")) == (1, True)
    code, text = await db(url, "restore", file, "--yes")
    assert code == 0, text

    async with serve(store_url=url, jwt_secret="") as server:
        async with server.feed(ada, params={"after": position}) as feed:
            await feed.expect("hello")
            reset = await feed.expect("reset")
            assert reset.data["reason"] == "epoch"
            await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
            assert (await feed.expect("user.updated")).data["user"]["name"] == "Ada"
        assert (await server.log_in("ada")).id == ada.id
        await server.json("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token})
        refused = {"login": "bob", "password": ada.password}
        await server.json("POST", "/v1/auth/login", status=401, json=refused)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_command_that_is_interrupted_leaves_nothing(tmp_path: Path, place: str, number: signal.Signals) -> None:
    """One line, and no half of a file."""
    (folder := tmp_path / "backup").mkdir()
    assert (await db(place, "upgrade"))[0] == 0
    waiting = "SELECT 1 FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted"
    connection = await asyncpg.connect(place)
    async with connection.transaction():
        await connection.execute("LOCK TABLE users")  # a backup waits for it
        command = await start_command("db", "backup", str(folder / "roster.db"), ROSTER_STORE_URL=place)
        await until(lambda: connection.fetchval(waiting), timeout=20)
        command.process.send_signal(number)
        ended = await command.end()
    await connection.close()

    assert ended == (1, "roster: interrupted\n")
    assert list(folder.iterdir()) == []


async def test_copy_moves_from_one_store_to_another(url: str, tmp_path: Path) -> None:
    """Both are named on the command line; the setting has no part in it."""
    target = f"sqlite:///{tmp_path}/other.db"
    async with opened(url) as store:
        await fill(store)
    code, text = await db("memory://", "copy", url, target)

    assert code == 0, text
    assert "users   2\n" in text
    assert await contents(target) == await contents(url)


@pytest.mark.parametrize(
    ("store", "command", "sentence"),
    [
        ("memory://", ("check",), "memory:// keeps nothing beyond its process; name sqlite:///path or postgresql://…"),
        ("sqlite:///{folder}/no.db", ("check",), "There is no file {folder}/no.db."),
        ("sqlite:///{folder}/no.db", ("backup", "{folder}/file"), "There is no file {folder}/no.db."),
        ("sqlite:///{folder}/no/base.db", ("restore", "{folder}/none"), "There is no file {folder}/none."),
        ("sqlite:///{folder}/no.db", ("downgrade", "base", "--yes"), "There is no file {folder}/no.db."),
        ("sqlite:///{folder}/text", ("check",), "{folder}/text cannot be used: file is not a database"),
        ("sqlite:///{folder}/no.db", ("restore", "{folder}/text"), "{folder}/text cannot be used: file is not a database"),
        ("sqlite:///{folder}/empty", ("check",), "{folder}/empty holds no tables of Roster."),
        ("sqlite:///{folder}/used.db", ("backup", "{folder}/no/file"), "{folder}/no/file cannot be written: No such file"),
        ("sqlite:///{folder}/used.db", ("backup", "{folder}/text"), "{folder}/text is there already: add --force."),
        ("sqlite:///{folder}/used.db", ("upgrade",), "{folder}/used.db belongs to process"),
        ("sqlite:///{folder}/used.db", ("downgrade", "base", "--yes"), "{folder}/used.db belongs to process"),
        ("sqlite:///{folder}/new.db", ("upgrade", "9999"), "Can't locate revision identified by '9999'"),
        ("postgresql://u:secret@127.0.0.1:1/d", ("check",), "postgresql://127.0.0.1:1/d cannot be used: "),
        ("postgresql://u:secret@host:port/d", ("check",), "The URL of the database cannot be read."),
        ("mysql://u:secret@127.0.0.1:1/d", ("check",), "ROSTER_STORE_URL='mysql://…@127.0.0.1:1/…': must be memory://"),
        ("memory://", ("copy", "sqlite:///{folder}/used.db", "file.db"), "A store is written sqlite:///path or"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, store: str, command: tuple[str, ...], sentence: str
) -> None:
    """On one line, without a traceback and without a password."""
    (tmp_path / "text").write_text("This is not a database.\n" * 100)
    (tmp_path / "empty").touch()
    async with opened(f"sqlite:///{tmp_path}/used.db"):
        code, text = await db(store.format(folder=tmp_path), *(part.format(folder=tmp_path) for part in command))

    assert code == 1
    assert text.startswith("roster: " + sentence.format(folder=tmp_path)), text
    assert text.count("\n") == 1, text
    assert "secret" not in text


async def test_revision_that_is_not_there_is_refused_first(url: str) -> None:
    """A downgrade to an unknown revision says so before it asks for `--yes`."""
    await db(url, "upgrade")
    code, text = await db(url, "downgrade", "99")
    assert (code, text.startswith("roster: there is no revision 99")) == (1, True)
