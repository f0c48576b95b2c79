"""The files that a backup, a copy or a restore must not overwrite: those of a store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.domain.errors import Unavailable
from service.store.maintenance.database import Database
from service.store.sqlite.file_lock import owner_file

_BESIDE: Final = ("-wal", "-shm", ".owner", "-journal")
_JOURNALS: Final = ("-wal", "-journal")  # SQLite applies what they hold to whatever file has the name before the suffix


def list_files(path: Path) -> tuple[Path, ...]:
    """A SQLite file and everything that SQLite and the service put beside it, whether it exists or not."""
    path = Path(os.path.realpath(path))
    return (path, *(Path(f"{path}{suffix}") for suffix in _BESIDE))


def refuse_file(file: Path, source: Database) -> None:
    """Raises `Unavailable` where a file is one of the source's, or of a store that a process owns at this moment, or has
    a journal of an earlier database beside it."""
    for mine in source.files:
        if _is_same(file, mine):
            raise Unavailable(1, f"{file} is {mine} of the store itself; name another file.")
    for store in _find_stores(file):
        if _is_owned(store):
            raise Unavailable(1, f"{file} belongs to {store}, which a process is using; name another file.")
    for suffix in _JOURNALS:
        journal = Path(f"{file.absolute()}{suffix}")
        if journal.exists() and journal.stat().st_size:
            raise Unavailable(
                1,
                f"{journal} holds changes of a store that was not shut down, and SQLite would apply them to the backup. "
                "Start and stop that store, or name another file.",
            )


def refuse_target(target: Database, source: Database) -> None:
    """Raises `Unavailable` where source and target share a file, or the target is beside a store that is in use."""
    if source.name == target.name:
        raise Unavailable(1, f"{target.name} cannot be copied to itself.")
    for theirs in target.files:
        for mine in source.files:
            if _is_same(theirs, mine):
                raise Unavailable(1, f"{target.name} cannot be copied to itself: {theirs} is {mine}.")
    for file in target.files[:1]:
        for store in _find_stores(file):
            if store != file and _is_owned(store):
                raise Unavailable(1, f"{file} belongs to {store}, which a process is using; name another target.")


def _is_same(one: Path, other: Path) -> bool:
    # By name as well: a file that is not there yet would be read as the store's at its next start.
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except OSError:
        return False


def _find_stores(file: Path) -> Iterator[Path]:
    """The SQLite files to which a file of this name may belong."""
    path = os.path.realpath(file)
    yield Path(path)
    for suffix in _BESIDE:
        if path.endswith(suffix):
            yield Path(path.removesuffix(suffix))


def _is_owned(store: Path) -> bool:
    """Whether a process holds the lock beside a SQLite file."""
    try:
        descriptor = os.open(owner_file(store), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
