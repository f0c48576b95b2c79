"""A database that is not the one of the last run starts a new epoch."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from service.domain.events.position import Position
from service.store.identity import postgres_identity
from service.store.maintenance import locations
from service.store.maintenance.backup import back_up
from service.store.sqlite import run_record
from service.store.sqlite import store as sqlite_store
from tests.support.domain import a_user, keep
from tests.support.maintenance import opened
from tests.support.places import LASTING, NewPlace
from tests.support.wait import until


async def run(url: str, users: int = 0) -> Position:
    """The position at the end of a run that writes so many users."""
    async with opened(url) as store:
        for _ in range(users):
            await keep(store, a_user())
        return await store.events.read_position()


def put(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
        from_.backup(to)


@pytest.mark.parametrize("kind", LASTING)
async def test_epoch_lasts_over_restarts(new_place: NewPlace, kind: str) -> None:
    """Positions stay valid from run to run while the database is the same."""
    url = await new_place(kind)
    first = await run(url, 2)
    assert await run(url) == first
    assert await run(url, 1) == Position(first.epoch, first.seq + 1)


@pytest.mark.parametrize("later", [0, 3, 4], ids=["nothing", "less than was lost", "more than was lost"])
async def test_file_put_back_while_stopped_starts_a_new_epoch(new_place: NewPlace, tmp_path: Path, later: int) -> None:
    """A copy from an earlier run is recognised by its run id, whatever its head."""
    url = await new_place("sqlite")
    path, kept = Path(url.removeprefix("sqlite:///")), tmp_path / "kept.db"
    await run(url, 5)
    shutil.copyfile(path, kept)
    left = await run(url, later)
    shutil.copyfile(kept, path)
    found = await run(url)
    assert (found.epoch != left.epoch, found.seq) == (True, 5)
    assert await run(url, 1) == Position(found.epoch, 6)


async def test_copy_from_the_same_run_is_recognised_by_its_head(new_place: NewPlace, tmp_path: Path) -> None:
    """The head is kept beside the file at the end of a run, and a copy made while it ran has a lower one."""
    url = await new_place("sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    async with opened(url) as store:
        await keep(store, a_user())
        copy(path, tmp_path / "kept.db")
        await keep(store, a_user())
        left = await store.events.read_position()
    shutil.copyfile(tmp_path / "kept.db", path)
    assert (await run(url)).epoch != left.epoch


async def test_head_is_kept_while_the_service_runs(
    new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is killed has left its head of a second ago; a copy with a lower one starts a new epoch."""
    monkeypatch.setattr(sqlite_store, "_RECORD_EVERY_S", 0.01)
    url = await new_place("sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    owner = os.open(f"{path}.owner", os.O_RDWR | os.O_CREAT)
    try:
        async with opened(url) as store:
            await keep(store, a_user(), a_user())
            copy(path, tmp_path / "kept.db")
            await keep(store, a_user())
            await until(lambda: run_record.read_record(owner).head == 3)
            assert run_record.read_owner(owner).startswith(f"process {os.getpid()} on ")
            left, killed = await store.events.read_position(), os.pread(owner, 1_000, 0)
        shutil.copyfile(tmp_path / "kept.db", path)
        os.pwrite(owner, killed, 0)
    finally:
        os.close(owner)
    assert (await run(url)).epoch != left.epoch


@pytest.mark.parametrize("lose", [lambda owner: owner.unlink(), lambda owner: owner.write_text("process 1 on x")])
async def test_missing_run_id_starts_a_new_epoch(new_place: NewPlace, lose: Callable[[Path], None]) -> None:
    """A file without what stands beside it may come from anywhere."""
    url = await new_place("sqlite")
    left = await run(url, 1)
    lose(Path(f"{url.removeprefix('sqlite:///')}.owner"))
    assert (await run(url)).epoch != left.epoch


async def test_run_that_is_killed_as_it_begins_keeps_the_epoch(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the ids in the file and beside it, in either order, the next run still finds its own file."""
    url = await new_place("sqlite")
    left = await run(url, 1)
    owner = Path(f"{url.removeprefix('sqlite:///')}.owner")
    writes: list[bytes] = []
    real = run_record.write_record

    def watched(*args: object, **kwargs: object) -> None:
        real(*args, **kwargs)  # type: ignore[arg-type]  # as they come
        writes.append(owner.read_bytes())

    monkeypatch.setattr(sqlite_store, "write_record", watched)
    assert await run(url) == left
    put(owner, writes[0])
    assert await run(url) == left


async def test_starts_that_are_killed_one_after_another_keep_the_epoch(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many runs are killed before the file has their id, `.owner` still names the id that the file has."""
    url = await new_place("sqlite")
    left = await run(url, 1)

    class Killed(Exception):
        pass

    async def kill(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_store, "begin_run", kill)
        for _ in range(4):
            with pytest.raises(Killed):
                await run(url)
    assert await run(url) == left


async def test_backup_put_in_the_place_of_the_store_starts_a_new_epoch(new_place: NewPlace, tmp_path: Path) -> None:
    """`roster db backup` leaves the run id out, so that a copied backup is recognised although nothing was written since."""
    url = await new_place("sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    async with opened(url) as store:
        await keep(store, a_user())
        await back_up(locations.locate_database(url), tmp_path / "backup.db", replace=False)
        left = await store.events.read_position()
    shutil.copyfile(tmp_path / "backup.db", path)
    assert (await run(url)).epoch != left.epoch


_RESTORED = """
    ALTER TABLE log RENAME TO old;
    CREATE TABLE log (LIKE old INCLUDING ALL);
    INSERT INTO log SELECT * FROM old;
    DROP TABLE old;
"""


async def test_restored_dump_starts_a_new_epoch(new_place: NewPlace) -> None:
    """pg_restore makes the tables again, under other oids, in the same database or in another one."""
    url = await new_place("postgres")
    left = await run(url, 7)
    connection = await asyncpg.connect(url)
    await connection.execute(_RESTORED)
    await connection.close()
    found = await run(url, 4)
    assert (found.epoch != left.epoch, found.seq) == (True, 11)
    assert await run(url) == found


async def test_identity_of_postgres_has_what_the_role_may_ask_for(new_place: NewPlace) -> None:
    """Oids, system identifier and timeline; a role without the privilege for the latter two still has the oids."""
    url = await new_place("postgres")
    connection = await asyncpg.connect(url)
    try:
        database, table, system, timeline = (await postgres_identity(connection)).split()
        assert database.isdigit()
        assert table.isdigit()
        assert system.isdigit()
        assert timeline == "00000001"
        await connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        await connection.execute("CREATE ROLE asks_little")
        await connection.execute(f"GRANT USAGE ON SCHEMA {url.rpartition('=')[2]} TO asks_little; SET ROLE asks_little")
        try:
            assert (await postgres_identity(connection)).split()[2:] == ["-", timeline]
        finally:
            await connection.execute("RESET ROLE; DROP OWNED BY asks_little; DROP ROLE asks_little")
            await connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
    finally:
        await connection.close()
