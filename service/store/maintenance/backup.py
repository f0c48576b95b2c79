"""A backup: one SQLite file, from whichever database, for whichever database."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from service.domain.errors import Unavailable
from service.store.maintenance import copying
from service.store.maintenance.database import Database
from service.store.maintenance.sqlite import SqliteDatabase
from service.store.maintenance.targets import refuse_file, refuse_target
from service.store.sql import migrate, schema


async def back_up(source: Database, file: Path, *, replace: bool) -> int:
    """Write the state of now into a file, which is there whole or not at all, and readable by its owner alone.

    Returns its size in bytes.

    Args:
        replace: whether a file that is there may be lost.

    Raises `Unavailable`, also where the file is one of a store that is in use.
    """
    refuse_file(file, source)
    with _replace_atomically(file, replace=replace) as part:
        await source.back_up(part)
        return os.stat(part).st_size


async def restore(file: Path, target: Database, *, replace: bool) -> None:
    """Check a backup completely, then replace the data of the target by it, as `copying.copy`."""
    refuse_target(target, SqliteDatabase(file))
    async with _open_verified(file) as source:
        await copying.copy(source, target, replace=replace)


@asynccontextmanager
async def _open_verified(file: Path) -> AsyncIterator[Database]:
    """The backup, or where it is an older version's, a copy that is brought up to date. Raises `Unavailable`."""
    source = SqliteDatabase(file)
    async with source.open_reader() as reader:
        revision = await reader.revision()
        if revision is None:
            raise Unavailable(1, f"{file} is not a backup of Roster.")
        damage = await reader.damage()
    if damage:
        raise Unavailable(1, f"{file} cannot be restored: {damage[0]}.")
    if revision == schema.REVISION:
        yield source
        return
    schema.refuse(revision, may_migrate=True)
    with tempfile.TemporaryDirectory(prefix="roster-restore-") as folder:
        copy = Path(folder) / "roster.db"
        copy.touch(0o600)
        await source.back_up(copy)
        await SqliteDatabase(copy).migrate(migrate.upgrade)
        yield SqliteDatabase(copy)


@contextmanager
def _replace_atomically(file: Path, *, replace: bool) -> Iterator[Path]:
    """A file beside it that takes its name, once the disk has all of it."""
    if file.exists() and not replace:
        raise Unavailable(1, f"{file} is there already: add --force.")
    folder = file.absolute().parent
    part = folder / f".{file.name}.{secrets.token_hex(4)}.part"
    try:  # before it is made: a signal may come at any moment
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        yield part
        _sync(part)
        part.replace(file)
        _sync(folder)
    except OSError as error:
        raise Unavailable(1, f"{file} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
