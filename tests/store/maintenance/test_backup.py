"""A backup: one SQLite file, from whichever database, for whichever database."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from service.domain.errors import Unavailable
from service.store.maintenance import locations
from service.store.maintenance.backup import back_up, restore
from service.store.maintenance.checking import check
from service.store.sql import schema
from tests.support.domain import a_user, keep
from tests.support.gunicorn import finished
from tests.support.maintenance import (
    contents,
    fill,
    filled,
    opened,
)
from tests.support.places import LASTING, NewPlace
from tests.support.wait import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup" / "roster.db"


@pytest.fixture(autouse=True)
def _folder(file: Path) -> None:
    file.parent.mkdir()


@pytest.mark.parametrize("restored", LASTING)
@pytest.mark.parametrize("kind", LASTING)
async def test_backup_of_either_is_restored_into_either(
    new_place: NewPlace, file: Path, kind: str, restored: str
) -> None:
    """It holds every row, and what was restored begins a new epoch."""
    source, target = await new_place(kind), await new_place(restored)
    async with opened(source) as store:
        await fill(store)
        before = await store.events.read_position()
        size = await back_up(locations.locate_database(source), file, replace=False)

    assert size > 50_000
    assert await contents(f"sqlite:///{file}") == await contents(source)
    assert (await check(locations.locate_database(f"sqlite:///{file}"))).epoch == before.epoch
    await restore(file, locations.locate_database(target), replace=False)
    assert await contents(target) == await contents(source)
    found = await check(locations.locate_database(target))
    assert (found.head, found.faults) == (before.seq, ())
    assert found.epoch != before.epoch


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.soak)])
async def test_backup_is_one_state_while_the_service_writes(new_place: NewPlace, file: Path, kind: str) -> None:
    """Writes go on while it is made, by another process as on the command line, and it is whole: users and log agree."""
    url = await new_place(kind)
    async with opened(url) as store:
        for _ in range(20):
            await keep(store, *(a_user() for _ in range(500)))
        writes = 0

        async def write() -> None:
            nonlocal writes
            while True:
                await keep(store, a_user())
                writes += 1
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        await until(lambda: writes > 20)
        before = writes
        assert await finished("-m", "service", "db", "backup", str(file), ROSTER_STORE_URL=url) == (0, "")
        assert writes > before
        writing.cancel()
        await asyncio.wait((writing,))
        after = await store.events.read_position()

    found = await check(locations.locate_database(f"sqlite:///{file}"))
    assert found.faults == ()
    assert 10_000 + before <= found.users == found.head < after.seq


@pytest.mark.parametrize("kind", LASTING)
async def test_backup_is_one_file_of_its_owners_alone(new_place: NewPlace, file: Path, kind: str) -> None:
    """It holds the hashes of passwords and the key that signs tokens."""
    url = await new_place(kind)
    async with opened(url) as store:
        await fill(store)
        await back_up(locations.locate_database(url), file, replace=False)

    found = {one.name: stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()}
    assert found == {"roster.db": 0o600}


async def test_file_that_is_there_is_not_replaced_unasked(new_place: NewPlace, file: Path) -> None:
    """And not by a backup that fails, either."""
    url = await filled(new_place, "sqlite")
    file.write_text("precious")
    with pytest.raises(Unavailable, match="is there already: add --force"):
        await back_up(locations.locate_database(url), file, replace=False)
    with pytest.raises(Unavailable, match="There is no file"):
        await back_up(locations.locate_database(await new_place("sqlite", empty=True)), file, replace=True)
    assert file.read_text() == "precious"
    assert list(file.parent.iterdir()) == [file]

    await back_up(locations.locate_database(url), file, replace=True)
    assert await contents(f"sqlite:///{file}") == await contents(url)


async def test_damaged_backup_is_not_restored(new_place: NewPlace, file: Path) -> None:
    """Nor something that is none; the target is not even made."""
    url, target = await filled(new_place, "sqlite"), await new_place("sqlite", empty=True)
    await back_up(locations.locate_database(url), file, replace=False)
    with closing(sqlite3.connect(file)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_events_subject_seq'")
    content = bytearray(file.read_bytes())
    content[root * 4096 - 8 : root * 4096] = bytes(8)
    file.write_bytes(content)
    with pytest.raises(Unavailable, match="cannot be restored: the file is damaged"):
        await restore(file, locations.locate_database(target), replace=False)

    file.write_bytes(b"")
    with pytest.raises(Unavailable, match="is not a backup of Roster"):
        await restore(file, locations.locate_database(target), replace=False)
    assert not Path(target.removeprefix("sqlite:///")).exists()


async def test_older_backup_is_brought_up_to_date(
    new_place: NewPlace, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy: the backup itself stays as it is. One of a newer version is refused."""
    url, target = await filled(new_place, "sqlite"), await new_place("postgres")
    await back_up(locations.locate_database(url), file, replace=False)
    before = file.read_bytes()
    _add_migration(tmp_path / "migrations", monkeypatch)

    await restore(file, locations.locate_database(target), replace=False)

    assert file.read_bytes() == before
    assert {row[3] for row in (await contents(target))["users"]} == {"as it is called later"}
    monkeypatch.undo()
    with pytest.raises(Unavailable, match="revision 9999, which this version does not know"):
        await back_up(locations.locate_database(target), file, replace=True)


def _add_migration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of the service, with one more migration."""
    shutil.copytree(schema.MIGRATIONS, folder)
    (folder / "versions" / "9999_later.py").write_text(
        f"from alembic import op\nrevision, down_revision = '9999', {schema.REVISION!r}\n"
        "def upgrade(): op.execute(\"UPDATE users SET name = 'as it is called later'\")\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    monkeypatch.setattr(schema, "REVISION", "9999")
