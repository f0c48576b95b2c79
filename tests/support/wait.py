"""Waiting on a condition instead of on a guess about time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

BUSY_S: Final = 2.0
"""The allowance for a busy machine in every bound on wall-clock time: with another program on one of two cores, answers
promised within two seconds came after 2.9. A test adds it to the bound that is promised, and what it excludes must take
longer than both; what a test measures of the processor itself it measures by `time.process_time`."""


async def until(predicate: Callable[[], object], timeout: float = 5.0) -> None:
    """Return as soon as `predicate()` is true, or what it returns to be awaited; AssertionError after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not await _found(predicate):
        if loop.time() > deadline:
            name = getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"{name} did not become true within {timeout} s")
        await asyncio.sleep(0.005)


async def _found(predicate: Callable[[], object]) -> object:
    found = predicate()
    return await found if inspect.isawaitable(found) else found
