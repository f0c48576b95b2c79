"""Roster behind the proxies of `deploy/`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from service.app import now
from service.store.memory.store import MemoryStore
from tests.support.proxies import PROXIES, RunningProxy, run_proxy
from tests.support.server import Server


@pytest.fixture(scope="module", params=PROXIES)
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[RunningProxy]:
    """One process for all tests of a module."""
    async with run_proxy(request.param) as running:
        yield running


@pytest.fixture
async def outside(proxy: RunningProxy) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that reaches Roster through the proxy alone."""
    async with proxy.session() as session:
        yield session


@pytest.fixture
async def behind(proxy: RunningProxy) -> AsyncIterator[Server]:
    """Roster where the proxy expects it; its own session goes past the proxy."""
    async with proxy.host(MemoryStore(now), metrics_token="m" * 32) as server:
        yield server
