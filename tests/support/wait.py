"""Waiting on a condition instead of on a guess about time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

# What a machine may add to a bound on time that has other things to do.
BUSY_S: Final = 0.5


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
