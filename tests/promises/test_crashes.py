"""Promise: what was answered 2xx is there and is delivered, however the process ends."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support import crashes


@pytest.mark.parametrize("store", [crashes.on_sqlite, crashes.on_postgres])
async def test_kill_at_a_random_moment_loses_nothing(store: crashes.Run, tmp_path: Path, chance: random.Random) -> None:
    """While sixteen write: every write that was answered is there, a reader that comes back gets every event, in
    order, and no change is there by half."""
    await store(tmp_path, chance, rounds=1, writes=150, tell=lambda _: None)
