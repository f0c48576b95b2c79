"""One service for all the rows of a table: it must come through every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.server import Server, serve


@pytest.fixture(scope="module")
async def target() -> AsyncIterator[Server]:
    """A running service that the tests of a module share; talk to it on connections that end with the test."""
    async with serve(cors_origins=("https://app.example.com",)) as running:
        yield running
