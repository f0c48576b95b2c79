"""Imports and exports under way."""

from __future__ import annotations

import asyncio

import pytest

from service.domain.errors import Unavailable
from service.http.bulk_limit import BulkJobLimiter


def test_two_of_a_kind_run_at_once() -> None:
    """A third job gets a retry time; a finished job frees its place, and each kind has its own places."""
    transfers = BulkJobLimiter()
    with transfers.one("import"):
        with transfers.one("import"), pytest.raises(Unavailable) as refused, transfers.one("import"):
            pass
        assert refused.value.retry_after_s == 10
        assert transfers.running("import") == 1
        with transfers.one("import"), transfers.one("export"):
            assert (transfers.running("import"), transfers.running("export")) == (2, 1)


async def test_wait_ends_in_time() -> None:
    """A job that waits too long gets an error."""
    with pytest.raises(TimeoutError):
        async with BulkJobLimiter().wait(0.01):
            await asyncio.sleep(10)


async def test_end_of_the_service_ends_waits() -> None:
    """A wait that is going on ends at once, and so does any that begins later."""
    transfers = BulkJobLimiter()

    async def wait() -> None:
        async with transfers.wait(60):
            await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    transfers.end()
    assert transfers.ending
    for task in (waiting, asyncio.create_task(wait())):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await task
