"""The number of each worker, and how many connections each holds."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import struct
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Final

MOST_WORKERS: Final = 256
_ENTRY: Final = struct.Struct("=qd")
_ALIVE_S: Final = 0.5


class WorkerSlots:
    """Made in the master before it forks; each worker claims the lowest free number.

    A number is held by a lock on a file, so a worker that is killed gives it back.

    Attributes:
        folder: for sockets and locks of the workers; only their user can read it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="roster-"))
        self.table = mmap.mmap(-1, MOST_WORKERS * _ENTRY.size)

    def claim(self) -> WorkerSlot:
        """The lowest number that no live worker has. Raises OSError where the folder cannot be written."""
        for number in range(MOST_WORKERS):
            # Opened by each worker: a lock on an inherited file would exclude no other process.
            lock = os.open(self.folder / f"worker.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return WorkerSlot(self, number, lock)
        raise OSError(f"more than {MOST_WORKERS} workers")

    def remove(self) -> None:
        """Delete the folder, after the last worker."""
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def slots_of_master() -> WorkerSlots:
    """Those of the master and all its workers: the master calls this first, and workers inherit the value."""
    return WorkerSlots()


class WorkerSlot:
    """The place of one worker.

    Attributes:
        number: from 0; a worker that takes the place of another may have the same.
    """

    def __init__(self, slots: WorkerSlots, number: int, lock: int) -> None:
        self.slots = slots
        self.number = number
        self._lock = lock

    def report(self, connections: int) -> None:
        """Tell the other workers how many connections this one holds. A report older than half a second does not count."""
        _ENTRY.pack_into(self.slots.table, self.number * _ENTRY.size, connections, time.monotonic())

    def withdraw(self) -> None:
        """This worker takes no more connections."""
        _ENTRY.pack_into(self.slots.table, self.number * _ENTRY.size, 0, 0.0)

    def find_least(self) -> int | None:
        """The connections of the live worker with the fewest; None where no worker is alive."""
        since = time.monotonic() - _ALIVE_S
        return min((count for count, at in _ENTRY.iter_unpack(self.slots.table) if at > since), default=None)
