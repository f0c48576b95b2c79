"""How a command runs: to its end, or to a sentence."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_to_end(work: Coroutine[Any, Any, str | None]) -> str | None:
    """Do it; None when it went well, else the sentence that goes with exit code 1."""
    from service.domain.errors import Unavailable
    from service.settings import SettingsError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return asyncio.run(work)
    except (SettingsError, Unavailable) as error:
        return f"roster: {error}"
    except KeyboardInterrupt:
        return "roster: interrupted"


def _interrupt(*_: object) -> None:
    # asyncio's own handler waits for the next await, which a long step of SQLite has none of.
    raise KeyboardInterrupt
