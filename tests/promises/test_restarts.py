"""Promise: a reload costs no request and no event, and a worker that is killed no event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.postgres import postgres
from tests.support.restarts import restart


@contextmanager
def on_sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/roster.db"


@contextmanager
def on_postgres(folder: Path) -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.mark.gunicorn
@pytest.mark.parametrize("store", [on_sqlite, on_postgres])
async def test_reloads_and_a_killed_worker_lose_nothing(
    store: Callable[[Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    """Twenty-five readers over SSE and as many over WebSocket, and twenty changes a second: a reload and a `kill -9`,
    and everybody takes every event once, in order, and is back within three seconds."""
    with store(tmp_path) as url:
        await restart(url, 50, lambda _: None, reloads=1, rest_s=0.2)
