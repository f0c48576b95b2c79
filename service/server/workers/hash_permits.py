"""Bounds the threads that hash passwords in all workers of one host together."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HashPermits:
    """A number of permits, each a lock on a file: a worker that is killed gives its permits back.

    Each worker has as many threads as the host may use, so that a single busy worker can use all of them.

    Args:
        folder: shared by the workers.
        count: of permits.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._paths = [folder / f"hash.{number}" for number in range(count)]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a permit in this thread; waits until one is free."""
        file = self._take()
        try:
            yield
        finally:
            os.close(file)  # and with it the lock

    def _take(self) -> int:
        paths = random.sample(self._paths, len(self._paths))  # nosec B311  # no secret
        for path in paths:
            file = _open(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            else:
                return file
        file = _open(paths[0])
        fcntl.flock(file, fcntl.LOCK_EX)
        return file


def _open(path: Path) -> int:
    # Opened for each use: two threads that share an open file would share its lock.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
