"""Time that a clock which is set back cannot stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from service.domain.ports import Clock


class SteadyClock:
    """A clock that follows another one forward, and goes on by itself where that one is set back.

    For spans of a few seconds that must not last for hours because of a wrong clock. After a step back it stays ahead of the
    other clock until the process ends, or the other clock has caught up.

    Args:
        elapsed: seconds of a monotonic clock.
    """

    def __init__(self, wall: Clock, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._zero = wall() - timedelta(seconds=elapsed())  # what the wall clock showed when `elapsed` was 0

    def __call__(self) -> datetime:
        elapsed = timedelta(seconds=self._elapsed())
        self._zero = max(self._zero, self._wall() - elapsed)
        return self._zero + elapsed
