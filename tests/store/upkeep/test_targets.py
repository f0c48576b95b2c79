"""What a backup, a copy or a restore must not write over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.domain.errors import Unavailable
from service.store.upkeep import places
from service.store.upkeep.backup import back_up, restore
from service.store.upkeep.copying import copy
from tests.support.places import NewPlace
from tests.support.upkeep import fill, filled, opened

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
        before = await store.position()
        for suffix in FILES:
            file = Path(f"{path}{suffix}")
            inode = os.stat(file).st_ino
            other = name(file)
            with pytest.raises(Unavailable, match="name another file"):
                await back_up(places.at(url), other, replace=True)
            with pytest.raises(Unavailable, match="cannot be copied to itself"):
                await copy(places.at(url), places.at(f"sqlite:///{other}"), replace=True)
            assert os.stat(file).st_ino == inode
        assert await store.position() == before


async def test_file_of_another_store_in_use_is_not_written_over(new_place: NewPlace, tmp_path: Path) -> None:
    """A backup of one store onto the files of another one that a process uses is refused; so is a copy beside it."""
    url, other = await filled(new_place, "sqlite"), f"sqlite:///{tmp_path / 'other.db'}"
    async with opened(other) as store:
        await fill(store)
        for suffix in FILES:
            with pytest.raises(Unavailable, match="which a process is using"):
                await back_up(places.at(url), tmp_path / f"other.db{suffix}", replace=True)
        with pytest.raises(Unavailable, match="which a process is using"):
            await copy(places.at(url), places.at(f"{other}-wal"), replace=True)


async def test_name_beside_a_stopped_store_is_refused(new_place: NewPlace, tmp_path: Path) -> None:
    """SQLite would read a backup called `roster.db-wal` as the store's own at the next start. Nor is a store restored from itself."""
    url = await filled(new_place, "sqlite")
    path = Path(url.removeprefix("sqlite:///"))
    for suffix in (*FILES, "-journal"):
        with pytest.raises(Unavailable, match="name another file"):
            await back_up(places.at(url), Path(f"{path}{suffix}"), replace=True)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(Unavailable, match="cannot be copied to itself"):
        await restore(link, places.at(url), replace=True)


async def test_store_has_one_owner_by_whatever_link(new_place: NewPlace, tmp_path: Path) -> None:
    """A process that names the file by a link waits for the owner of the file itself."""
    url = await filled(new_place, "sqlite")
    link = tmp_path / "link.db"
    link.symlink_to(url.removeprefix("sqlite:///"))
    async with opened(url):
        with pytest.raises(Unavailable, match="belongs to process"):
            async with places.at(f"sqlite:///{link}").owned():
                raise AssertionError("two owners")
