"""One log line for an outage, however many requests it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

_SILENT_S: Final = 60.0
_MOST_KEYS: Final = 1_000


class Quiet:
    """Decides whether a fault is logged: only after a minute in which it was not seen. Safe in several threads.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def is_due(self, key: Hashable) -> bool:
        """Whether this fault gets a line now; the call itself counts as seeing it."""
        now = self._clock()
        due = self._until.get(key, now) <= now
        if due and len(self._until) >= _MOST_KEYS:
            self._until.clear()
        self._until[key] = now + _SILENT_S
        return due
