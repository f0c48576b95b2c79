"""What every test has: a service to talk to, and nothing left over from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import hypothesis
import pytest

from tests.support.server import Server, serve

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("roster", deadline=None)
hypothesis.settings.load_profile("roster")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A running service with the settings of tests. For other settings: `async with serve(ping_s=0.05) as server`."""
    async with serve() as running:
        yield running


@pytest.fixture(autouse=True)
async def _nothing_left_over() -> AsyncIterator[None]:
    """Every task that a test started has ended with it."""
    before = left = asyncio.all_tasks()
    yield
    for _ in range(50):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left over: {left}")
