"""The size of the write-ahead log beside a SQLite file."""

from __future__ import annotations

import os
from pathlib import Path

from service.store.sqlite.connection import WAL_LIMIT_BYTES
from service.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.domain import a_user, keep


async def test_wal_shrinks_after_a_slow_reader(tmp_path: Path) -> None:
    """While an export holds an old state the WAL grows with every write; the second commit after it gives the room back."""
    path = tmp_path / "roster.db"
    store = SqliteStore(path, ManualClock(), full=False)

    def size() -> int:
        return os.path.getsize(f"{path}-wal")

    await store.open()
    try:
        await keep(store, a_user())
        async with store.users.stream_all() as (pages, _):
            await anext(aiter(pages))
            while size() <= 2 * WAL_LIMIT_BYTES:
                await keep(store, *(a_user() for _ in range(500)))
        for _ in range(3):
            await keep(store, a_user())
        assert size() <= WAL_LIMIT_BYTES
    finally:
        await store.close()
