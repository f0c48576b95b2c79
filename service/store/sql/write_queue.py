"""The queue of writes, and their waiting callers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain.errors import Unavailable
from service.domain.events.position import Position
from service.store.sql.batch import Work
from service.store.sql.results import WriteSuccess

_MOST_TOGETHER: Final = 64
_MOST_WAITING: Final = 10_000
# A write that another process keeps from a row fails after this time, so that its caller is answered within two seconds.
_MOST_POSTPONED_S: Final = 1.2


@dataclass(slots=True, eq=False)
class WaitingWrite:
    """A work, and the caller that waits for its result.

    Attributes:
        tries: how often it failed because of another transaction.
        postponed_at: when it was first postponed, in seconds of the monotonic clock.
    """

    work: Work
    future: asyncio.Future[tuple[WriteSuccess, Position]]
    tries: int = 0
    postponed_at: float | None = None

    def answer(self, done: WriteSuccess, position: Position) -> None:
        """Deliver the result to the caller, if it still waits."""
        if not self.future.done():
            self.future.set_result((done, position))

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def fail_or_repeat(self, error: Exception | None, most_tries: int | None) -> Exception | None:
        """None if it may run again; else the error for its caller.

        Args:
            error: that of this try, if it is the last one.
            most_tries: None where this try does not count; then only time is bounded.
        """
        if most_tries is None:
            now = time.monotonic()
            if self.postponed_at is None:
                self.postponed_at = now
            return None if now - self.postponed_at < _MOST_POSTPONED_S else Unavailable(1)
        self.tries += 1
        return None if self.tries < most_tries else error


class WriteQueue:
    """Writes in the order in which they came. One thread puts, one takes; they may be two."""

    def __init__(self) -> None:
        self._waiting: deque[WaitingWrite] = deque()
        self.closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Work) -> asyncio.Future[tuple[WriteSuccess, Position]]:
        """Enqueue a work. Raises `Unavailable` where too many wait, or the writer is closing."""
        if self.closing or len(self._waiting) >= _MOST_WAITING:
            raise Unavailable(1)
        write = WaitingWrite(work, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        return write.future

    def take(self, most: int = _MOST_TOGETHER) -> Sequence[WaitingWrite]:
        """As many as may share a transaction."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), most))]

    def take_all(self) -> Sequence[WaitingWrite]:
        return self.take(_MOST_WAITING)

    def put_back(self, again: Iterable[WaitingWrite]) -> None:
        """Have them come next, in their order."""
        self._waiting.extendleft(reversed(list(again)))
