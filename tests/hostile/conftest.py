"""One service for all the rows of a table: it must come through every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.places import NewPlace
from tests.support.server import Login, Server, serve


@pytest.fixture(scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of store: memory, except for tables of input that reaches the database: they take every kind."""
    return str(getattr(request, "param", "memory"))


@pytest.fixture(scope="module")
async def target(kind: str, new_place: NewPlace) -> AsyncIterator[Server]:
    """A running service that the tests of a module share; talk to it on connections that end with the test."""
    async with serve(store_url=await new_place(kind), cors_origins=("https://app.example.com",)) as running:
        # The connection that its client keeps is there before the first test, which is not blamed for it.
        await running.json("GET", "/health/live")
        yield running


@pytest.fixture(scope="module")
async def ada(target: Server) -> Login:
    """A member of it."""
    return await target.member()


@pytest.fixture
async def store_url(kind: str, new_place: NewPlace) -> str:
    """An empty store, for a test that needs a service with other settings."""
    return await new_place(kind)
