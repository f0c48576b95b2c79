"""The one thread that writes to a SQLite file."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from service.domain.errors import Unavailable
from service.domain.positions import Position
from service.store.sql.batch import Kept, Outcome, Work, carry_out
from service.store.sql.sqlite_connection import SqliteConnection

T = TypeVar("T")

_MOST_TOGETHER: Final = 64
_MOST_WAITING: Final = 10_000


@dataclass(slots=True, eq=False)
class Waiting:
    """A work, and who waits for what becomes of it."""

    work: Work
    future: asyncio.Future[tuple[Outcome, Position]]


class Writer:
    """Carries out writes in the order in which they come, as many in one transaction as wait.

    Args:
        kept: how much of the log is kept, asked at each commit.
        on_commit: called on the loop after a commit that appended events.
    """

    def __init__(self, connection: SqliteConnection, kept: Callable[[], Kept], on_commit: Callable[[], None]) -> None:
        self._connection = connection
        self._kept = kept
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work) -> tuple[Outcome, Position]:
        """Have it carried out; raises `Unavailable` where too many wait, and whatever SQLite cannot do.

        Who stops waiting does not stop it: it is carried out whole, or not at all.
        """
        if self._closing or len(self._waiting) >= _MOST_WAITING:
            raise Unavailable(1)
        waiting = Waiting(work, self._loop.create_future())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.future

    async def close(self) -> None:
        """Carry out what waits, then end. Safe to call twice."""
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                together = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_TOGETHER))]
                self._commit(together)
            if self._closing:
                return

    def _commit(self, together: list[Waiting]) -> None:
        raw = self._connection.raw
        try:
            raw.execute("BEGIN IMMEDIATE")
            try:
                batch = run_through(carry_out(self._connection, [waiting.work for waiting in together], self._kept()))
                raw.execute("COMMIT")
            except BaseException:
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raise
        except Exception as error:
            self._loop.call_soon_threadsafe(_fail, together, error)
            return
        paired = list(zip(together, batch.outcomes, strict=True))
        self._waiting.extendleft(waiting for waiting, outcome in reversed(paired) if outcome is None)
        done = [(waiting.future, outcome) for waiting, outcome in paired if outcome is not None]
        self._loop.call_soon_threadsafe(self._tell, done, batch.position)

    def _tell(self, done: list[tuple[asyncio.Future[tuple[Outcome, Position]], Outcome]], position: Position) -> None:
        for future, outcome in done:
            if not future.done():
                future.set_result((outcome, position))
        if any(outcome.events for _, outcome in done):
            self._on_commit()


def _fail(together: list[Waiting], error: Exception) -> None:
    for waiting in together:
        if not waiting.future.done():
            waiting.future.set_exception(error)


def run_through(steps: Awaitable[T]) -> T:
    """Run a coroutine that waits for nothing but this thread's own connection."""
    running = steps.__await__()
    try:
        next(running)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("a transaction waited for something outside of it")


def kept(count: int, seconds: float, clock: Callable[[], datetime]) -> Callable[[], Kept]:
    """How much of the log is kept, counted from now at each call. `seconds` 0: by count alone."""
    return lambda: Kept(count, clock() - timedelta(seconds=seconds) if seconds else None)
