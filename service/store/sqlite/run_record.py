"""What `.owner` keeps of a run beside its lock: the run's id, which the SQLite file has as well, and the last head."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_SIZE: Final = 512  # one sector: it is there whole, or as it was


@dataclass(frozen=True, slots=True)
class RunRecord:
    """
    Attributes:
        runs: ids of which the file has one; two at most, while a run begins.
        head: seq of the last event, at most a second old.
    """

    runs: tuple[str, ...] = ()
    head: int = 0

    def is_known(self, run: str | None, head: int) -> bool:
        """Whether a file with this id and head is the one that the last run left."""
        return run in self.runs and head >= self.head


def read_owner(descriptor: int) -> str:
    """The sentence that names the owner; empty where there is none."""
    return os.pread(descriptor, _SIZE, 0).decode(errors="replace").partition("\n")[0].strip()


def read_record(descriptor: int) -> RunRecord:
    """The record of the last run; without one, a record that matches no file."""
    text = os.pread(descriptor, _SIZE, 0).decode(errors="replace").partition("\n")[2]
    try:
        found = json.loads(text)
        return RunRecord(tuple(map(str, found["runs"])), int(found["head"]))
    except (ValueError, TypeError, KeyError):
        return RunRecord()


def write_owner(descriptor: int, owner: str, record: RunRecord, *, to_disk: bool = False) -> None:
    """Write both. On a full disk the file stays unchanged, and no error is raised."""
    text = f"{owner[:200]}\n{json.dumps({'runs': record.runs, 'head': record.head})}"
    with suppress(OSError):  # the lock is what counts, and it takes no room on a disk that is full
        os.pwrite(descriptor, text.encode(errors="replace").ljust(_SIZE - 1) + b"\n", 0)
        if to_disk:
            os.fsync(descriptor)


def write_record(descriptor: int, record: RunRecord, *, to_disk: bool = False) -> None:
    write_owner(descriptor, read_owner(descriptor), record, to_disk=to_disk)
