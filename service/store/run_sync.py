"""A coroutine in one step: for transactions that have nothing to wait for."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


def run_sync(steps: Awaitable[T]) -> T:
    """Run it to its end at once, in whatever thread this is; nothing else happens meanwhile, which makes it atomic.

    Raises RuntimeError when it waits for something all the same.
    """
    running = steps.__await__()
    try:
        next(running)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("a transaction waited for something outside of it")
