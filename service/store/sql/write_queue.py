"""The queue of writes, and their waiting callers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain.errors import Unavailable
from service.domain.events.position import Position
from service.store.sql.batch import Outcome, Work

_MOST_TOGETHER: Final = 64
_MOST_WAITING: Final = 10_000


@dataclass(slots=True, eq=False)
class Waiting:
    """A work, who waits for what becomes of it, and how often it was tried."""

    work: Work
    future: asyncio.Future[tuple[Outcome, Position]]
    tries: int = 0

    def answer(self, outcome: Outcome, position: Position) -> None:
        """Deliver the outcome to the caller, if it still waits."""
        if not self.future.done():
            self.future.set_result((outcome, position))

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Queue:
    """In the order of their coming. One thread puts, one takes; they may be two."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self.closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Work) -> asyncio.Future[tuple[Outcome, Position]]:
        """Have it wait. Raises `Unavailable` where too many do, or none is carried out any more."""
        if self.closing or len(self._waiting) >= _MOST_WAITING:
            raise Unavailable(1)
        waiting = Waiting(work, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        return waiting.future

    def take(self, most: int = _MOST_TOGETHER) -> Sequence[Waiting]:
        """As many as may share a transaction."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), most))]

    def take_all(self) -> Sequence[Waiting]:
        return self.take(_MOST_WAITING)

    def put_back(self, again: Iterable[Waiting]) -> None:
        """Have them come next, in their order."""
        self._waiting.extendleft(reversed(list(again)))
