"""Revisions of the tables, and the way from one to another."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import event

from service.domain.errors import Unavailable
from service.store.postgres.store import PostgresStore
from service.store.sql import migrate, schema
from service.store.sql.tables import metadata
from service.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.domain import a_user, keep
from tests.support.gunicorn import ROOT, finished
from tests.support.wait import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "roster.db"


def test_revision_of_this_code_is_the_newest_migration() -> None:
    """The revision that a start expects is the only head of the scripts."""
    assert ScriptDirectory(str(schema.MIGRATIONS)).get_heads() == [schema.REVISION]


def test_migrations_make_the_tables_of_a_sqlite_file(path: Path) -> None:
    """Column by column, constraint by constraint, index by index."""
    migrate.in_sqlite(path, migrate.upgrade)
    beside = path.with_name("beside.db")
    migrate.in_sqlite(beside, metadata.create_all)

    found: list[Any] = []
    for file in (path, beside):
        migrate.in_sqlite(file, lambda connection: found.append(portrait(connection)))
    assert found[0] == found[1]


async def test_migrations_make_the_tables_in_postgresql(empty_place: str) -> None:
    """The same there."""
    found: list[Any] = []

    def both(connection: sa.Connection) -> None:
        migrate.upgrade(connection)
        found.append(portrait(connection))
        migrate.downgrade(connection, "base")
        metadata.create_all(connection)
        found.append(portrait(connection))

    await migrate.in_postgres(lambda: asyncpg.connect(empty_place), both)
    assert found[0] == found[1]


def portrait(connection: sa.Connection) -> dict[str, Any]:
    """All that the database says of our tables."""
    look = sa.inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(set(look.get_table_names()) - {"alembic_version"}):
        found[table] = {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in look.get_columns(table)
            },
            "key": look.get_pk_constraint(table),
            "references": _sorted(look.get_foreign_keys(table)),
            "unique": _sorted(look.get_unique_constraints(table)),
            "checks": _sorted(look.get_check_constraints(table)),
            "indexes": _sorted(
                [
                    # The conditions of partial indexes, which compare as objects otherwise.
                    index
                    | {
                        "dialect_options": {
                            name: str(value) for name, value in index.get("dialect_options", {}).items()
                        }
                    }
                    for index in look.get_indexes(table)
                ]
            ),
        }
    assert found.keys() == metadata.tables.keys()
    return found


def _sorted(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda one: str(one["name"]))


def test_way_back_leads_to_an_empty_database(path: Path) -> None:
    """Every migration can be taken back, and made again."""
    for _ in range(2):
        migrate.in_sqlite(path, migrate.upgrade)
        migrate.in_sqlite(path, partial(migrate.downgrade, revision="base"))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL").fetchall() == [
                ("alembic_version",)
            ]


def test_migration_that_fails_leaves_the_old_state_whole(path: Path) -> None:
    """After whichever statement it does."""
    statements = 0

    def fail_after(most: int, connection: sa.Connection) -> None:
        nonlocal statements
        statements = 0

        def count(*_: object) -> None:
            nonlocal statements
            statements += 1
            if statements > most:
                raise LookupError("no further")

        event.listen(connection, "before_cursor_execute", count)
        migrate.upgrade(connection)

    for most in itertools.count():
        try:
            migrate.in_sqlite(path, partial(fail_after, most))
        except LookupError:
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [], most
        else:
            break
    assert statements > 15


async def test_migration_that_fails_in_postgresql_leaves_the_old_state_whole(empty_place: str) -> None:
    """The same there; and what the server will not do is a sentence of its own."""

    def fails(connection: sa.Connection) -> None:
        migrate.upgrade(connection)
        raise LookupError("no further")

    with pytest.raises(LookupError):
        await migrate.in_postgres(lambda: asyncpg.connect(empty_place), fails)
    connection = await asyncpg.connect(empty_place)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema") == 0
    await connection.execute("CREATE ROLE poor LOGIN")
    await connection.close()
    with pytest.raises(Unavailable, match=r"^PostgreSQL: [a-z ]*(permission denied|no schema has been selected)"):
        await PostgresStore(empty_place.replace("roster@", "poor@"), ManualClock()).open()


async def test_process_killed_in_a_migration_leaves_the_old_state_whole(path: Path) -> None:
    """The next start finds what was there before, and does it all."""
    script = (
        "import os, sys; from pathlib import Path; from sqlalchemy import event; from service.store.sql import migrate\n"
        "def dies(connection):\n"
        "    def look(_, cursor, statement, *rest):\n"
        "        if 'ix_events_subject_seq' in statement: os.kill(os.getpid(), 9)\n"
        "    event.listen(connection, 'after_cursor_execute', look)\n"
        "    migrate.upgrade(connection)\n"
        "migrate.in_sqlite(Path(sys.argv[1]), dies)\n"
    )
    assert (await finished("-c", script, str(path)))[0] == -signal.SIGKILL

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    store = SqliteStore(path, ManualClock())
    await store.open()
    await keep(store, a_user())
    await store.close()


async def test_migration_that_waits_for_a_lock_lets_other_sessions_pass(empty_place: str) -> None:
    """It gives its place in the queue up after a second, is repeated, and succeeds once the lock is released."""
    await migrate.in_postgres(lambda: asyncpg.connect(empty_place), migrate.upgrade)
    holder, other = await asyncpg.connect(empty_place), await asyncpg.connect(empty_place)
    held = holder.transaction()
    await held.start()
    await holder.execute("LOCK TABLE users IN ACCESS SHARE MODE")
    migrating = asyncio.create_task(migrate.in_postgres(lambda: asyncpg.connect(empty_place), _add_column))

    async def waits() -> bool:
        return bool(
            await other.fetchval("SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted")
        )

    await until(waits, 5)
    assert await asyncio.wait_for(other.fetchval("SELECT count(*) FROM users"), 10) == 0
    assert not migrating.done()
    await held.rollback()
    await asyncio.wait_for(migrating, 20)

    assert await other.fetchval("SELECT count(extra) FROM users") == 0
    await holder.close()
    await other.close()


async def test_migration_that_never_gets_its_lock_changes_nothing(empty_place: str) -> None:
    """It ends with a sentence when its patience is over."""
    await migrate.in_postgres(lambda: asyncpg.connect(empty_place), migrate.upgrade)
    holder = await asyncpg.connect(empty_place)
    async with holder.transaction():
        await holder.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        with pytest.raises(Unavailable, match=r"^PostgreSQL: other sessions have held locks on the tables for 0 s"):
            await migrate.in_postgres(lambda: asyncpg.connect(empty_place), _add_column, patience_s=0)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await holder.fetchval("SELECT extra FROM users")
    await holder.close()


def _add_column(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE users ADD COLUMN extra INTEGER")


async def test_hosts_that_start_together_make_the_tables_once(empty_place: str) -> None:
    """One does, the others wait for it; they all have one log."""
    stores = [PostgresStore(empty_place, ManualClock(), wait_s=None) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    epochs = {(await store.events.read_position()).epoch for store in stores}
    for store in stores:
        await store.close()

    assert len(epochs) == 1


@pytest.mark.parametrize("found", [None, "0001", "9999"])
async def test_start_that_may_not_migrate_says_what_to_do(
    path: Path, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the tables are not those of this code, it changes nothing."""
    sentences = {
        None: "There are no tables yet: run `roster db upgrade`",
        "0001": "The tables are of revision 0001, not later: run `roster db upgrade`",
        "9999": "The tables are of revision 9999, which this version does not know: a newer version made them, or one from before 0.1.0",
    }
    migrate.in_sqlite(path, partial(migrate.upgrade, revision="0001"))
    if found is None:
        migrate.in_sqlite(path, partial(migrate.downgrade, revision="base"))
    else:
        _set_revision(path, found)
    before = _dump(path)
    monkeypatch.setattr(schema, "REVISION", "later")

    with pytest.raises(Unavailable) as refused:
        await SqliteStore(path, ManualClock(), may_migrate=False).open()
    assert str(refused.value).startswith(sentences[found])
    assert _dump(path) == before


async def test_tables_of_a_newer_version_are_left_alone(path: Path, empty_place: str) -> None:
    """Also by a start that may migrate."""
    migrate.in_sqlite(path, migrate.upgrade)
    _set_revision(path, "9999")
    with pytest.raises(Unavailable, match="revision 9999, which this version does not know"):
        await SqliteStore(path, ManualClock()).open()

    connection = await asyncpg.connect(empty_place)
    await migrate.in_postgres(lambda: asyncpg.connect(empty_place), migrate.upgrade)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(Unavailable, match="revision 9999, which this version does not know"):
        await PostgresStore(empty_place, ManualClock()).open()


async def test_foreign_tables_are_left_alone(path: Path) -> None:
    """A database that has some under our names is not ours."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (mine TEXT)")
    with pytest.raises(Unavailable, match="did not make those that are there: users"):
        await SqliteStore(path, ManualClock()).open()


async def test_file_that_is_no_database_is_refused_with_a_sentence(path: Path) -> None:
    """And its owner's lock is free again."""
    await asyncio.to_thread(path.write_bytes, b"no database at all, and long enough to be read as one" * 20)
    with pytest.raises(Unavailable, match=r"roster\.db cannot be used: file is not a database"):
        await SqliteStore(path, ManualClock()).open()
    await asyncio.to_thread(path.unlink)
    store = SqliteStore(path, ManualClock(), wait_s=0.1)
    await store.open()
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_start_on_tables_up_to_date_does_without_alembic(path: Path, empty_place: str, kind: str) -> None:
    """Which would cost it 0.1 s and 8 MB."""
    places = {"sqlite": f"SqliteStore(Path({str(path)!r}), now)", "postgres": f"PostgresStore({empty_place!r}, now)"}
    script = (
        "import asyncio, sys; from pathlib import Path; from service.app import now\n"
        f"from service.store.{kind}.store import *\n"
        f"async def main(): store = {places[kind]}; await store.open(); await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)\n"
    )
    if kind == "postgres":
        await migrate.in_postgres(lambda: asyncpg.connect(empty_place), migrate.upgrade)
    else:
        migrate.in_sqlite(path, migrate.upgrade)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert output == b"False\n"


def _set_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())
