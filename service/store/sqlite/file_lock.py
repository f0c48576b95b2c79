"""The one process that a SQLite file belongs to."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from service.domain.errors import Unavailable
from service.store.sqlite.run_record import read_owner, read_record, write_owner

_RETRY_S: Final = 0.05
_QUIET_S: Final = 2.0  # a shorter wait has no line

log = logging.getLogger("roster.store")


async def acquire_file_lock(path: Path, wait_s: float) -> int:
    """Lock the file beside `path`; the kernel releases the lock when the process ends, however it ends.

    Args:
        wait_s: how long to wait for the owner to release it.

    Returns the descriptor that holds the lock. Raises `Unavailable`, with the name of the owner, and OSError. Cancelling is safe.
    """
    refuse_hard_links(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(parent for parent in path.parents if parent.exists() and not parent.is_dir())
        raise Unavailable(1, f"{path} cannot be made: {file} is a file, not a folder.") from None
    descriptor = os.open(owner_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(wait_s):
            is_logged = wait_s < _QUIET_S
            while not _try_lock(descriptor):
                if not is_logged:
                    is_logged = True
                    wait = {"file": str(path), "owner": _name_owner(descriptor), "at_most_s": round(wait_s)}
                    log.warning("waiting for another process to leave the database", extra=wait)
                await asyncio.sleep(_RETRY_S)
        begun = datetime.now(UTC).isoformat(" ", "seconds")
        owner = f"process {os.getpid()} on {socket.gethostname()}, since {begun}"
        write_owner(descriptor, owner, read_record(descriptor))
    except TimeoutError:
        owner = _name_owner(descriptor)
        os.close(descriptor)
        raise Unavailable(
            1, f"{path} belongs to {owner}, which has not left it. Stop that one first, or name another file."
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def refuse_hard_links(path: Path) -> None:
    """Raises `Unavailable` where the file has another name as well.

    SQLite and this lock put their files beside a name. Two processes with two names of one database would each write a
    WAL of their own, and damage it.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:  # a folder has a name in each folder inside it
        raise Unavailable(
            1,
            f"{path} has {found.st_nlink} names (hard links), and SQLite loses data where two of them are used. "
            f"Remove the others: find / -samefile {path}",
        )


def owner_file(path: Path) -> str:
    """The file that holds the lock of `path`, named as SQLite names its own: after the file, not after a link to it."""
    return f"{os.path.realpath(path)}.owner"


def _name_owner(descriptor: int) -> str:
    return read_owner(descriptor) or "another process"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
