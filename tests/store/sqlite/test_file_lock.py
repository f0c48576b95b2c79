"""The one process that a SQLite file belongs to."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from pathlib import Path

import pytest

from service.domain.errors import Unavailable
from service.store.sqlite import faults
from service.store.sqlite.file_lock import acquire_file_lock
from service.telemetry.quiet import Quiet
from tests.support.wait import until


async def test_wait_for_the_owner_of_a_file_is_said_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start that waits for another process names the file, that process and its host."""
    path = tmp_path / "roster.db"
    owner = await acquire_file_lock(path, 0)
    waiting = asyncio.create_task(acquire_file_lock(path, 30))
    await until(lambda: "waiting for another process to leave the database" in caplog.text)
    os.close(owner)
    os.close(await waiting)
    (record,) = caplog.records
    assert record.__dict__["owner"].startswith(f"process {os.getpid()} on ")
    assert record.__dict__["file"] == str(path)


async def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    """Where a folder should be and a file is, the sentence names that file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file is a file, not a folder"):
        await acquire_file_lock(tmp_path / "file" / "deeper" / "x.db", 0)


def test_fault_of_the_file_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many writes a full or broken disk refuses, the log has one line for them."""
    monkeypatch.setattr(faults, "_quiet", Quiet())
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR"
    for _ in range(5):
        assert isinstance(faults.refusal_of(error, tmp_path / "roster.db"), Unavailable)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
