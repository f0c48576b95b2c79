"""The files that a backup, a copy or a restore must not overwrite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.domain.errors import Unavailable
from service.store.maintenance import locations
from service.store.maintenance.backup import back_up, restore
from service.store.maintenance.copying import copy
from service.store.maintenance.epochs import start_epoch
from tests.support.maintenance import fill, filled, opened
from tests.support.places import NewPlace

FILES = ("", "-wal", "-shm", ".owner")


def as_it_is(file: Path) -> Path:
    return file


def as_a_link(file: Path) -> Path:
    link = file.with_name("link" + file.name)
    link.symlink_to(file)
    return link


def as_a_hard_link(file: Path) -> Path:
    link = file.with_name("hard" + file.name)
    os.link(file, link)
    return link


def through_a_folder(file: Path) -> Path:
    folder = file.parent.parent / f"{file.parent.name}.link"
    if not folder.exists():
        folder.symlink_to(file.parent)
    return folder / file.name


@pytest.mark.parametrize("name", [as_it_is, as_a_link, as_a_hard_link, through_a_folder])
async def test_file_of_a_store_in_use_is_not_written_over(
    new_place: NewPlace, tmp_path: Path, name: Callable[[Path], Path]
) -> None:
    """A backup or a copy onto any of the four files of the running store, by whatever name, is refused and changes nothing."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "roster.db"
    url = f"sqlite:///{path}"
    async with opened(url) as store:
        await fill(store)
        before = await store.events.read_position()
        for suffix in FILES:
            file = Path(f"{path}{suffix}")
            inode = os.stat(file).st_ino
            other = name(file)
            with pytest.raises(Unavailable, match="name another file"):
                await back_up(locations.locate_database(url), other, replace=True)
            with pytest.raises(Unavailable, match="cannot be copied to itself"):
                await copy(
                    locations.locate_database(url), locations.locate_database(f"sqlite:///{other}"), replace=True
                )
            assert os.stat(file).st_ino == inode
        assert await store.events.read_position() == before


async def test_file_of_another_store_in_use_is_not_written_over(new_place: NewPlace, tmp_path: Path) -> None:
    """A backup of one store onto the files of another one that a process uses is refused; so is a copy beside it."""
    url, other = await filled(new_place, "sqlite"), f"sqlite:///{tmp_path / 'other.db'}"
    async with opened(other) as store:
        await fill(store)
        for suffix in FILES:
            with pytest.raises(Unavailable, match="which a process is using"):
                await back_up(locations.locate_database(url), tmp_path / f"other.db{suffix}", replace=True)
        with pytest.raises(Unavailable, match="which a process is using"):
            await copy(locations.locate_database(url), locations.locate_database(f"{other}-wal"), replace=True)


async def test_name_beside_a_stopped_store_is_refused(new_place: NewPlace, tmp_path: Path) -> None:
    """SQLite would read a backup called `roster.db-wal` as the store's own at the next start. Nor is a store restored from itself."""
    url = await filled(new_place, "sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    for suffix in (*FILES, "-journal"):
        with pytest.raises(Unavailable, match="name another file"):
            await back_up(locations.locate_database(url), Path(f"{path}{suffix}"), replace=True)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(Unavailable, match="cannot be copied to itself"):
        await restore(link, locations.locate_database(url), replace=True)


async def test_store_has_one_owner_by_whatever_link(new_place: NewPlace, tmp_path: Path) -> None:
    """A process that names the file by a link waits for the owner of the file itself."""
    url = await filled(new_place, "sqlite")
    link = tmp_path / "link.db"
    link.symlink_to(url.removeprefix("sqlite:///"))
    async with opened(url):
        with pytest.raises(Unavailable, match="belongs to process"):
            async with locations.locate_database(f"sqlite:///{link}").lock():
                raise AssertionError("two owners")


async def test_store_with_a_second_hard_link_is_not_opened(new_place: NewPlace, tmp_path: Path) -> None:
    """Each name of a file would get a WAL and a lock of its own: a start, a copy and a command are refused by either name."""
    url, source = await filled(new_place, "sqlite"), await filled(new_place, "sqlite")
    path, link = Path(url.removeprefix("sqlite:///")), tmp_path / "link.db"
    async with opened(url):
        os.link(path, link)
        for name in (path, link):
            other = locations.locate_database(f"sqlite:///{name}")
            with pytest.raises(Unavailable, match="hard links"):
                await copy(locations.locate_database(source), other, replace=True)
            with pytest.raises(Unavailable, match="hard links"):
                await start_epoch(other)
        with pytest.raises(Unavailable, match="hard links"):
            async with opened(f"sqlite:///{link}"):
                raise AssertionError("two owners")
    link.unlink()
    async with opened(url):
        pass


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
async def test_backup_is_not_put_beside_the_journal_of_another_store(
    new_place: NewPlace, tmp_path: Path, suffix: str
) -> None:
    """A store that was killed leaves its journal, and SQLite would apply that to a backup that takes the name of the store."""
    url, file = await filled(new_place, "sqlite"), tmp_path / "killed.db"
    file.write_bytes(b"the store")
    journal = tmp_path / f"killed.db{suffix}"
    journal.write_bytes(b"changes")
    with pytest.raises(Unavailable, match="was not shut down"):
        await back_up(locations.locate_database(url), file, replace=True)
    assert file.read_bytes() == b"the store"
    journal.write_bytes(b"")
    assert await back_up(locations.locate_database(url), file, replace=True)
