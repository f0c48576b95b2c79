"""Places for a store's data, of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

_places = itertools.count(1)

NewPlace = Callable[[str], Awaitable[str]]


@pytest.fixture
def new_place(tmp_path: Path, request: pytest.FixtureRequest) -> NewPlace:
    """Makes the URL of an empty place: `await new_place("sqlite")`, `await new_place("postgres")`."""

    async def make(kind: str) -> str:
        number = next(_places)
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/place{number}.db"
        url: str = request.getfixturevalue("postgres_url")
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE SCHEMA upkeep{number}")
        await connection.close()
        return f"{url}?search_path=upkeep{number}"

    return make
