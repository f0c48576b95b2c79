"""How long to wait after how many failures: the rule, without a clock and without a memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Final

from service.config.values import Rate

_FIRST_SHARE: Final = 60  # of the window, and no less than a second, is the first wait: 15 s of 15 minutes
_BUSY_S: Final = 1.0  # what is under way has mostly ended by then


@dataclass(frozen=True, slots=True)
class Count:
    """The failures of a key.

    Attributes:
        level: failures that are not forgiven yet, at the moment of the last one.
        at: that moment, in seconds of a monotonic clock.
    """

    level: float
    at: float


NONE: Final = Count(0.0, 0.0)


class Backoff:
    """Allows some failures per window; each later failure doubles the wait, from a sixtieth of the window up to all of it.

    Failures are forgiven one by one, `most` in a window, but not while a wait lasts: otherwise an attacker that continues would
    never wait longer than the share of one. A period sees at most `most` failures, plus `most` for each window in it,
    plus those that lead to the longest wait, plus one for each such wait.
    """

    def __init__(self, rate: Rate) -> None:
        self.window_s = float(rate.seconds)
        self._free = rate.most - 1  # the next failure begins a wait
        self._forgiven_per_s = rate.most / rate.seconds
        self._first_s = max(1.0, rate.seconds / _FIRST_SHARE)
        # Higher would only take longer to be forgiven.
        self._highest = rate.most + max(0.0, log2(self.window_s / self._first_s))

    def wait_s(self, level: float) -> float:
        """How long the failure that led to this level has to be waited for; 0: not at all."""
        if level <= self._free:
            return 0.0
        return float(min(self.window_s, self._first_s * 2 ** (level - self._free - 1)))

    def level(self, count: Count, now: float) -> float:
        """The count at this time."""
        quiet_s = max(0.0, now - count.at - self.wait_s(count.level))
        return max(0.0, count.level - quiet_s * self._forgiven_per_s)

    def until_next_s(self, count: Count, under_way: int, now: float) -> float:
        """How long to wait before another attempt beside so many under way, each of which may fail; 0: not at all."""
        waiting_s = count.at + self.wait_s(count.level) - now
        if waiting_s > 0:
            return waiting_s
        if under_way and self.level(count, now) + under_way > self._free:
            return _BUSY_S
        return 0.0

    def failed(self, count: Count, now: float) -> Count:
        """The count with one failure more."""
        return Count(min(self._highest, self.level(count, now) + 1), now)
