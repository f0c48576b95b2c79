"""The one thread that writes to a SQLite file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from service.domain.errors import Unavailable
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.store.run_sync import run_sync
from service.store.sql.batch import Outcome, RetentionPolicy, Work, carry_out
from service.store.sql.write_queue import Queue, Waiting
from service.store.sqlite.connection import SqliteConnection


class SqliteWriter:
    """Carries out writes in the order in which they come, as many in one transaction as wait.

    Args:
        kept: how much of the log is kept, asked at each commit.
        on_commit: called on the loop with the events of a commit, before the writers are answered.
    """

    def __init__(
        self,
        connection: SqliteConnection,
        kept: Callable[[], RetentionPolicy],
        on_commit: Callable[[Sequence[Event]], None],
    ) -> None:
        self._connection = connection
        self._kept = kept
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._queue = Queue()
        self._last: Position | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work) -> tuple[Outcome, Position]:
        """Run the write; raises `Unavailable` if too many writes wait, and every error of SQLite.

        Cancelling the caller does not stop the write: it commits whole, or not at all.
        """
        future = self._queue.put(work)
        self._wake.set()
        return await future

    @property
    def last(self) -> Position | None:
        """Position of the log after the last commit; None where there was none yet."""
        return self._last

    async def close(self) -> None:
        """Carry out what waits, then end. Safe to call twice."""
        self._queue.closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._commit(self._queue.take())
            if self._queue.closing:
                return

    def _commit(self, together: Sequence[Waiting]) -> None:
        connection = self._connection
        try:
            connection.begin()
            try:
                batch = run_sync(
                    carry_out(connection, [waiting.work for waiting in together], self._kept(), self._last)
                )
                connection.commit()
            except BaseException:
                connection.roll_back()
                raise
        except Exception as error:
            # Later writes would wait as long for the same error, so they fail now.
            late = self._queue.take_all() if isinstance(error, Unavailable) else []
            self._loop.call_soon_threadsafe(self._fail, [*together, *late], error)
            return
        self._last = batch.position
        paired = list(zip(together, batch.outcomes, strict=True))
        self._queue.put_back(waiting for waiting, outcome in paired if outcome is None)
        done = [(waiting, outcome) for waiting, outcome in paired if outcome is not None]
        self._loop.call_soon_threadsafe(self._tell, done, batch.position)

    def _tell(self, done: Sequence[tuple[Waiting, Outcome]], position: Position) -> None:
        if appended := [event for _, outcome in done for event in outcome.events]:
            self._on_commit(appended)
        for waiting, outcome in done:
            waiting.answer(outcome, position)

    def _fail(self, together: Sequence[Waiting], error: Exception) -> None:
        for waiting in together:
            waiting.fail(error)
