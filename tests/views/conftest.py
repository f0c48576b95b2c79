"""Which stores a view is tried on that does more with them than others."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.postgres import postgres

_databases = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_of_views() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty store of each kind, as the setting names it."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_of_views")
        name = f"views{next(_databases)}"
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        yield url.rsplit("/", 1)[0] + "/" + name
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/roster.db"
    else:
        yield "memory://"
