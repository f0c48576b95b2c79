"""Promise: a reload costs no request and no event, and a worker that is killed no event."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.restarts import restart


@pytest.mark.gunicorn
async def test_reloads_and_a_killed_worker_lose_nothing(tmp_path: Path) -> None:
    """Twenty-five readers over SSE and as many over WebSocket, and twenty changes a second: two reloads and one `kill -9`
    on a SQLite file, and everybody takes every event once, in order, and is back within three seconds."""
    await restart(tmp_path / "roster.db", 50, lambda _: None, rest_s=0.2)
