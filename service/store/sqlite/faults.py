"""Errors of a SQLite file, as errors of the domain."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import tempfile
from pathlib import Path
from time import monotonic
from typing import Final

from service.domain.errors import StorageFull, Unavailable
from service.telemetry.quiet import Quiet

_LOOK_EVERY_S: Final = 0.1  # looking takes 1 µs, and a read 4
_PROBE_BYTES: Final = 65_536
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Not a fault of ours: another process locks the file, or the disk, its permissions or the contents fail. Other errors are bugs.
_AROUND: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)

log = logging.getLogger("roster.store")
_quiet = Quiet()


def refusal_of(error: sqlite3.Error, path: Path) -> Exception:
    """`StorageFull` or `Unavailable` where the error is not our own, with a line in the log; else the error itself."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    primary = code & 0xFF  # the rest of an extended code says more of the same
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and _is_full(path)):
        refusal: Unavailable = StorageFull()
    elif primary in _AROUND:
        refusal = Unavailable(1, "The store cannot be used now; come back shortly.")
    else:
        return error
    if _quiet.is_due((path, error.sqlite_errorname)):
        log.error("SQLite: %s", error, extra={"file": str(path), "code": error.sqlite_errorname})
    return refusal


class OpenFile:
    """A file, identified by its name and by its inode at the time it was opened.

    A process keeps using a file that was moved away or replaced, and its later writes would be lost to the
    next process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_there = True
        self._look_at = 0.0
        self._identity = self._look()

    def check(self) -> None:
        """Raise `Unavailable` while its name stands for something else; looks ten times a second."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY_S
            was_there, self._is_there = self._is_there, self._look() == self._identity
            if was_there and not self._is_there:
                log.critical(
                    "the database file was moved away or replaced; put it back, or restart with the present file",
                    extra={"file": str(self._path)},
                )
        if not self._is_there:
            raise Unavailable(1, "The store cannot be used now; come back shortly.")

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _is_full(path: Path) -> bool:
    """Whether nothing more can be put beside the file. SQLite says it of most calls, and of some only that they failed."""
    try:
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.errno in _NO_ROOM
    return False
