"""argon2id, in threads of its own; and hashes that other systems have made, for as long as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from service.domain.errors import Unavailable
from service.domain.passwords import normal

T = TypeVar("T")

# ASVS 5.0, appendix C: with t = 1 at least 47,104 KiB. One hash takes about 43 ms of a core.
_MEMORY_KIB: Final = 47_104


class Argon2Hasher:
    """Keeps `ProcessHasher`. Never on the loop and never in the default executor, where a slow name look-up could block it.

    Args:
        workers: threads; None for `usual_workers`. argon2 lets go of the interpreter lock, so they run side by side.
        queue: passwords that may wait for a thread; over it `Unavailable`.
        memory_kib, passes, lanes: what a hash costs. One that was made with others is outdated.
    """

    def __init__(
        self,
        workers: int | None = None,
        queue: int = 64,
        memory_kib: int = _MEMORY_KIB,
        passes: int = 1,
        lanes: int = 1,
    ) -> None:
        self._workers = workers or usual_workers()
        self._queue = queue
        self._pending = 0
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="hash")
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        return await self._run(functools.partial(self._argon2.hash, normal(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._run(functools.partial(self._verify, password_hash, password))

    def is_outdated(self, password_hash: str) -> bool:
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def close(self) -> None:
        """Let go of the threads; what has not begun is dropped. Safe to call twice."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._workers + self._queue:
            raise Unavailable(1, "Too many passwords wait to be checked; come back in a second.")
        self._pending += 1
        future = self._executor.submit(work)
        # Counted down when the thread is done, not when the caller goes away: the thread still works then.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _on(loop, self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._pending -= 1

    def _verify(self, password_hash: str | None, password: str) -> bool:
        if password_hash is None:
            self._matches(self._dummy(), normal(password))
            return False
        if self._matches(password_hash, normal(password)):
            return True
        # Other systems hash what was typed as it stands.
        return (
            password != normal(password) and self.is_outdated(password_hash) and self._matches(password_hash, password)
        )

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            if password_hash.startswith("$2"):
                # The algorithm reads no more than that, and what hashed the password left the rest away in silence.
                return bcrypt.checkpw(password.encode()[:72], password_hash.encode())
            return self._argon2.verify(password_hash, password)
        except (Argon2Error, InvalidHashError, ValueError):
            return False

    def _dummy(self) -> str:
        # Two threads may make it at once; either result does.
        if self._nobody is None:
            self._nobody = self._argon2.hash(os.urandom(16).hex())
        return self._nobody


def usual_workers() -> int:
    """One thread a core that this process may use but one, and one at least.

    With a thread on both of two cores, a `GET` beside waiting logins has a p99 of nine times its quiet one, and a lower
    priority of the threads does not mend that; with a core left to it, of one and a half (bench/README.md).
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores - 1)


def _on(loop: asyncio.AbstractEventLoop, callback: Callable[[], Any]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed while the thread still worked
        loop.call_soon_threadsafe(callback)
