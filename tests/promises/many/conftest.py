"""Several gunicorn workers on one PostgreSQL and one Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.gunicorn import Gunicorn, gunicorn
from tests.support.redis import RedisServer, find_valkey, redis_server

WORKERS = 2


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[RedisServer]:
    with redis_server(find_valkey()) as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: RedisServer) -> RedisServer:
    """An empty Valkey."""
    shared_valkey.command("FLUSHALL")
    return shared_valkey


@pytest.fixture
async def service(place: str, valkey: RedisServer) -> AsyncIterator[Gunicorn]:
    """Two workers with nothing in their store."""
    async with gunicorn(**shared_settings(place, valkey), ROSTER_WORKERS=str(WORKERS)) as running:
        await running.all_serve(WORKERS)
        yield running


def shared_settings(place: str, valkey: RedisServer) -> dict[str, str]:
    """The settings by which processes share everything."""
    return {
        "ROSTER_STORE_URL": place,
        "ROSTER_REDIS_URL": valkey.url,
        "ROSTER_ROOM_HISTORY_COUNT": "1000",
        "ROSTER_RATE_LIMIT": "off",
        "ROSTER_REGISTRATION_LIMIT": "off",
        "ROSTER_WRITE_LIMIT": "off",
        "ROSTER_MAX_CONNECTIONS_PER_USER": "0",
        "ROSTER_CONNECTIONS_PER_NETWORK": "0",
    }
