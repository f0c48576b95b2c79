"""argon2id, in threads of its own; and hashes that other systems have made, for as long as it takes."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, HashingError, InvalidHashError, VerifyMismatchError
from argon2.low_level import error_to_str

from service.domain.auth.password_policy import normal
from service.domain.errors import Unavailable
from service.security.hash_queue import HashQueue
from service.server import cgroups
from service.telemetry.quiet import Quiet

# ASVS 5.0, appendix C: with t = 1 at least 47,104 KiB. One hash takes about 43 ms of a core.
_MEMORY_KIB: Final = 47_104
_MOST_WORKERS: Final = 16
_SHARE_OF_MEMORY: Final = 4


# What argon2 says where the machine, not the hash, is at fault.
_FOR_WANT: Final = frozenset(map(error_to_str, (-22, -33)))  # ARGON2_MEMORY_ALLOCATION_ERROR, ARGON2_THREAD_FAIL

log = logging.getLogger("roster.logins")
_quiet = Quiet()


def _unavailable(error: Exception) -> Unavailable:
    if _quiet.is_due("memory"):
        log.error("no memory to hash passwords; logins return 503: %s", str(error) or type(error).__name__)
    return Unavailable(1, "Passwords cannot be checked now; come back in a second.")


class Argon2Hasher:
    """Keeps `ProcessHasher`. Never on the loop and never in the default executor, where a slow name look-up could block it.

    Args:
        workers: threads; None for `usual_workers`. argon2 releases the interpreter lock, so they run in parallel.
        queue: passwords that may wait for a thread; over it `Unavailable`.
        memory_kib, passes, lanes: what a hash costs. One that was made with others is outdated.
        permit: held in the thread during each hash, where processes share a bound.
    """

    def __init__(
        self,
        workers: int | None = None,
        queue: int = 64,
        memory_kib: int = _MEMORY_KIB,
        passes: int = 1,
        lanes: int = 1,
        permit: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._permit = permit
        self._jobs = HashQueue(workers or usual_workers(memory_kib), queue)
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        return await self._jobs.run(functools.partial(self._hash_in_turn, normal(password)), urgent=False)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._jobs.run(functools.partial(self._verify_in_turn, password_hash, password), urgent=True)

    def is_outdated(self, password_hash: str) -> bool:
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def close(self) -> None:
        """Stop the threads; jobs that have not started are dropped. Safe to call twice."""
        self._jobs.close()

    def _hash_in_turn(self, password: str) -> str:
        with self._permit():
            return self._hash(password)

    def _verify_in_turn(self, password_hash: str | None, password: str) -> bool:
        with self._permit():
            return self._verify(password_hash, password)

    def _hash(self, password: str) -> str:
        try:
            return self._argon2.hash(password)
        except (HashingError, MemoryError) as error:
            raise _unavailable(error) from error

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
        except VerifyMismatchError:
            return False
        except (Argon2Error, InvalidHashError, ValueError) as error:
            if str(error) in _FOR_WANT:
                raise _unavailable(error) from error
            return False  # a hash that cannot be read matches nothing
        except MemoryError as error:
            raise _unavailable(error) from error

    def _dummy(self) -> str:
        # Two threads may make it at once; either result does.
        if self._nobody is None:
            self._nobody = self._hash(os.urandom(16).hex())
        return self._nobody


def usual_workers(memory_kib: int = _MEMORY_KIB) -> int:
    """CPU cores minus one, within what the container grants: at least one, at most 16, and a quarter of its memory.

    With a thread on both of two cores, a `GET` beside waiting logins has a p99 of nine times its quiet one, and a lower
    priority of the threads does not help; with a core left to it, of one and a half (bench/README.md).

    Args:
        memory_kib: memory of one hash, in KiB.
    """
    cores: float = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    granted = cgroups.cpu_limit()
    if granted is not None:
        cores = min(cores, granted)
    workers = min(_MOST_WORKERS, int(cores) - 1)
    memory = cgroups.memory_limit()
    if memory is not None:
        workers = min(workers, memory // _SHARE_OF_MEMORY // (memory_kib * 1024))
    return max(1, workers)
