"""Promise: a reload costs no request and no event, and a worker that is killed no event."""

from __future__ import annotations

import pytest

from tests.support.places import NewPlace
from tests.support.restarts import restart


@pytest.mark.gunicorn
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.soak)])
async def test_reloads_and_a_killed_worker_lose_nothing(new_place: NewPlace, kind: str) -> None:
    """Twenty-five readers over SSE and as many over WebSocket, and twenty changes a second: a reload and a `kill -9`,
    and everybody takes every event once, in order, and is back within three seconds."""
    await restart(await new_place(kind), 50, lambda _: None, reloads=1, rest_s=0.2)
