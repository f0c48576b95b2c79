"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
"""Methods that the client repeats. PATCH is among them: a merge patch (RFC 7396) sets values, it does not add to them."""

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a client repeats a request that is safe to repeat.

    Attributes:
        total_timeout_s: seconds for a call, all attempts and waits included.
        first_delay_s: bound of the first wait. Each further bound is twice as long.
        longest_delay_s: no bound is longer.
    """

    total_timeout_s: float = 30.0
    first_delay_s: float = 0.2
    longest_delay_s: float = 5.0

    def choose_delay_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """The wait after this attempt, counted from 0: at random up to the bound, so that clients that failed together do not
        return together. `Retry-After` is the least wait, and the random part is added to it."""
        bound = min(self.longest_delay_s, self.first_delay_s * 2 ** min(attempt, 30))
        return (retry_after_s or 0.0) + random.uniform(0.0, bound)  # nosec B311  # no secret


class RetryBudget:
    """Bounds the retries of one client: while most requests fail, retries would multiply the load.

    A retry takes one from the budget, a success returns a fifth.
    """

    def __init__(self, size: int = 50) -> None:
        self._size = float(size)
        self._left = float(size)

    def take(self) -> bool:
        """False if the budget is used up; the request fails then instead of being repeated."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def refill(self) -> None:
        self._left = min(self._size, self._left + 0.2)
