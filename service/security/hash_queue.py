"""Threads that hash passwords, and the queue before them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from service.domain.errors import Unavailable

T = TypeVar("T")

_TURN_OF_OTHERS: Final = 4


class _Job:
    """`started`: whether a thread works on it."""

    __slots__ = ("future", "started", "work")

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.started = False


class HashQueue:
    """Runs work in threads: urgent work before other work, of which every fourth start is one.

    A flood of registrations then delays no login by more than what the threads have begun, and a flood of logins does not
    keep registrations out.

    Args:
        workers: threads.
        queue: jobs that may wait for a thread; over it `Unavailable`.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self._workers = workers
        self._most = workers + queue
        self._pending = 0
        self._running = 0
        self._starts = 0
        self._urgent: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="hash")

    async def run(self, work: Callable[[], T], *, urgent: bool) -> T:
        """Run `work`. Cancelling removes it from the queue; a thread that has started ends it, and counts until then."""
        if self._pending >= self._most:
            raise Unavailable(1, "Too many passwords wait to be checked; come back in a second.")
        self._pending += 1
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job, jobs = _Job(work, future), self._urgent if urgent else self._others
        jobs.append(job)
        self._start_jobs()
        try:
            return await future
        finally:
            if not job.started:
                self._pending -= 1
                with contextlib.suppress(ValueError):  # `close` has removed it
                    jobs.remove(job)

    def close(self) -> None:
        """End the threads; drop what has not started. Safe to call twice."""
        for jobs in (self._urgent, self._others):
            while jobs:
                jobs.popleft().future.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start_jobs(self) -> None:
        while self._running < self._workers and (self._urgent or self._others):
            self._starts += 1
            others_first = self._starts % _TURN_OF_OTHERS == 0
            job = (self._others if self._others and (others_first or not self._urgent) else self._urgent).popleft()
            if job.future.done():
                continue  # its caller removes it from the count in its own turn
            job.started = True
            self._running += 1
            done = self._executor.submit(job.work)
            done.add_done_callback(functools.partial(self._on_thread, job))

    def _on_thread(self, job: _Job, done: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed while the thread still worked
            job.future.get_loop().call_soon_threadsafe(self._finish, job, done)

    def _finish(self, job: _Job, done: Future[Any]) -> None:
        self._running -= 1
        self._pending -= 1
        if not job.future.done():
            if done.cancelled():
                job.future.cancel()
            elif (error := done.exception()) is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(done.result())
        self._start_jobs()
