from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from service.config.load import load
from service.outbound.session import open_session
from tests.support.upstream import Upstream, running


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as upstream:
        yield upstream


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session(load(), backoff_s=0.001) as session:
        yield session
