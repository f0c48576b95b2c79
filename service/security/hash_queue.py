"""Threads that hash passwords, and the queue before them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from service.domain.errors import Unavailable
from service.telemetry.quiet import Quiet

log = logging.getLogger("roster.logins")

T = TypeVar("T")

_TURN_OF_OTHERS: Final = 4


class _Job:
    """`started`: whether a thread works on it. `dropped`: whether a thread that still takes it does nothing."""

    __slots__ = ("dropped", "future", "started", "work")

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.started = False
        self.dropped = False

    def run(self) -> Any:
        return None if self.dropped else self.work()


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
        self._executor = self._create_executor()
        self._quiet = Quiet()

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
        """End the threads; drop what has not started, and accept no more. Safe to call twice."""
        self._most = 0
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
            try:
                done = self._executor.submit(job.run)
            except RuntimeError as error:
                self._refuse(job, error)
                continue
            job.started = True
            self._running += 1
            done.add_done_callback(functools.partial(self._on_thread, job))

    def _refuse(self, job: _Job, error: RuntimeError) -> None:
        """Fail a job for which no thread can be started. The executor has queued it all the same."""
        job.dropped = True
        if not self._running:
            # It has no thread, so nothing would take such jobs from its queue, which has no bound.
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self._create_executor()
        job.future.set_exception(Unavailable(1, "Passwords cannot be checked now; come back in a second."))
        if self._quiet.is_due("thread"):
            log.error("no thread to hash passwords; logins return 503: %s", str(error))

    def _create_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, thread_name_prefix="hash")

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
