"""Runs a command, and turns its errors into a message."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_to_end(work: Coroutine[Any, Any, str | None]) -> str | None:
    """Run the command until it ends or is interrupted. Returns None on success, else the error message for exit code 1."""
    from service.config.settings import SettingsError
    from service.domain.errors import Unavailable

    try:
        return asyncio.run(_interruptible(work))
    except (SettingsError, Unavailable) as error:
        return f"roster: {error}"
    except (KeyboardInterrupt, asyncio.CancelledError):
        return "roster: interrupted"


async def _interruptible(work: Coroutine[Any, Any, str | None]) -> str | None:
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work, name="command")

    def interrupt(*_: object) -> None:
        # Python drops what is raised while it frees an object or calls back from C: then this ends the next wait.
        loop.call_soon_threadsafe(task.cancel)
        # A long step of SQLite has no wait.
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return await task
