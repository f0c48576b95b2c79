"""Hashing: what it takes, what it refuses, and that the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator

import bcrypt
import pytest
from argon2 import PasswordHasher, Type, extract_parameters

from service.app import create_app
from service.domain.errors import Unavailable
from service.http.services import SERVICES
from service.security.argon2_hasher import Argon2Hasher, usual_workers
from tests.support.server import settings_for_tests
from tests.support.wait import until


@pytest.fixture
async def hasher() -> AsyncIterator[Argon2Hasher]:
    """Hashes in no time."""
    hasher = Argon2Hasher(workers=2, queue=2, memory_kib=64)
    yield hasher
    hasher.close()


async def test_password_matches_its_hash_and_no_other(hasher: Argon2Hasher) -> None:
    """A password matches the hash that was made of it, which is another each time; any other does not."""
    hashed = await hasher.hash("correct horse")

    assert await hasher.verify(hashed, "correct horse")
    for other in ("correct horse ", "Correct horse", "correct", "", "correct horse\0"):
        assert not await hasher.verify(hashed, other)
    assert await hasher.hash("correct horse") != hashed


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("caf\u00e9 \u00e0 la", "cafe\u0301 a\u0300 la"),
        ("\ufb01ve", "five"),
        ("\uff41\uff42\uff43", "abc"),
        ("\u212bngstr\u00f6m", "\u00c5ngstro\u0308m"),
    ],
)
async def test_spellings_that_unicode_calls_the_same_match(hasher: Argon2Hasher, one: str, same: str) -> None:
    """Two keyboards may send different code points for the same letters (NFKC)."""
    assert await hasher.verify(await hasher.hash(one), same)


@pytest.mark.parametrize("password", ["x" * 72 + "a", "before\0behind", "😀" * 1024, "\ufdfa" * 1024])
async def test_every_letter_counts(hasher: Argon2Hasher, password: str) -> None:
    """Nothing is cut off: not after 72 bytes, not after a NUL, not of a thousand letters that become eighteen each."""
    hashed = await hasher.hash(password)

    assert await hasher.verify(hashed, password)
    assert not await hasher.verify(hashed, password[:-1])


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "plain text"])
async def test_what_is_no_hash_matches_nothing(hasher: Argon2Hasher, kept: str) -> None:
    """A hash that cannot be read, as after a bad import, matches no password and is no error."""
    assert not await hasher.verify(kept, "correct horse")
    assert not await hasher.verify(kept, kept)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_hashes_of_bcrypt_match(hasher: Argon2Hasher, prefix: str) -> None:
    """A bcrypt hash of another system matches its password and no other; bcrypt ignores bytes after the 72nd."""
    hashed = prefix + bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()[4:]
    long = prefix + bcrypt.hashpw("é".encode() * 36, bcrypt.gensalt(4)).decode()[4:]

    assert await hasher.verify(hashed, "correct horse")
    assert not await hasher.verify(hashed, "correct horse ")
    assert not await hasher.verify(hashed, "correct\0horse")
    assert await hasher.verify(long, "é" * 36)
    assert await hasher.verify(long, "é" * 1024)
    assert not await hasher.verify(long, "é" * 35)


@pytest.mark.parametrize("kind", [Type.ID, Type.I, Type.D])
async def test_hashes_of_argon2_with_other_parameters_match(hasher: Argon2Hasher, kind: Type) -> None:
    """A hash that another system made with argon2 matches its password, whatever it cost."""
    hashed = PasswordHasher(time_cost=2, memory_cost=128, parallelism=4, salt_len=8, type=kind).hash("correct horse")

    assert await hasher.verify(hashed, "correct horse")
    assert not await hasher.verify(hashed, "Correct horse")


async def test_others_hashed_what_was_typed(hasher: Argon2Hasher) -> None:
    """Where spellings that Unicode calls the same differ, a hash from elsewhere matches the one that was typed there."""
    typed, same = "\ufb01ve cafe\u0301s", "five cafés"
    for hashed in (
        bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode(),
        PasswordHasher(time_cost=2, memory_cost=128, parallelism=1).hash(typed),
    ):
        assert await hasher.verify(hashed, typed)
        assert not await hasher.verify(hashed, same)


async def test_hash_is_outdated_unless_it_is_made_like_that_now(hasher: Argon2Hasher) -> None:
    """What `hash` makes is not outdated; other parameters, other algorithms and what is no hash are."""
    assert not hasher.is_outdated(await hasher.hash("correct horse"))
    for other in (
        PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("correct horse"),
        PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=Type.I).hash("correct horse"),
        bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode(),
        "no hash",
    ):
        assert hasher.is_outdated(other)


async def test_parameters_are_those_of_asvs() -> None:
    """Without other settings: argon2id, 47,104 KiB, one pass, one lane (ASVS 5.0, appendix C)."""
    hasher = Argon2Hasher()
    parameters = extract_parameters(await hasher.hash("correct horse"))
    hasher.close()

    assert parameters.type.name == "ID"
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (47_104, 1, 1)


async def test_parameters_are_those_of_the_settings() -> None:
    """The cost of a hash can be configured, and earlier hashes are outdated then."""
    before = Argon2Hasher(workers=1, memory_kib=64)
    hashed = await before.hash("correct horse")
    app = create_app(settings_for_tests(argon2_memory_kib=19_456, argon2_time_cost=2, argon2_parallelism=2))
    hasher = app[SERVICES].hasher
    parameters = extract_parameters(await hasher.hash("correct horse"))

    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 2)
    assert hasher.is_outdated(hashed)
    assert await hasher.verify(hashed, "correct horse")
    before.close()
    hasher.close()


async def test_no_hash_takes_as_long_as_a_hash() -> None:
    """An unknown account is checked as long as a known one: the clock must not tell them apart."""
    hasher = Argon2Hasher(workers=1, memory_kib=16_384)
    hashed = await hasher.hash("correct horse")
    await hasher.verify(None, "warms up: the hash of an absent user is computed once")

    async def took(password_hash: str | None) -> float:
        began = time.process_time()
        assert not await hasher.verify(password_hash, "wrong")
        return time.process_time() - began

    known, unknown = [], []
    for _ in range(9):  # in turn, so that what else the machine does falls on both
        known.append(await took(hashed))
        unknown.append(await took(None))
    hasher.close()

    assert 0.5 < statistics.median(unknown) / statistics.median(known) < 2


async def test_loop_goes_on_while_passwords_are_hashed() -> None:
    """Hashing takes threads of its own: the loop turns meanwhile, and the default executor stays free."""
    hasher = Argon2Hasher(workers=1, queue=8, memory_kib=32_768)
    hashing = [asyncio.create_task(hasher.hash("correct horse")) for _ in range(5)]
    turns = 0
    while not all(task.done() for task in hashing):
        await asyncio.sleep(0)
        turns += 1
    names = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    hasher.close()

    assert turns > 20
    assert "hash" in names


async def test_too_many_at_once_are_refused(hasher: Argon2Hasher) -> None:
    """Over the bound a password is refused at once and says when to come back; when some are done others are taken."""
    slow = Argon2Hasher(workers=1, queue=2, memory_kib=32_768)
    waiting = [asyncio.create_task(slow.hash("correct horse")) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Unavailable) as refused:
        await slow.hash("one too many")
    assert refused.value.retry_after_s >= 1
    await asyncio.gather(*waiting)
    assert await slow.hash("correct horse")
    slow.close()


async def test_who_goes_away_frees_its_place_when_the_thread_is_done() -> None:
    """A caller that is cancelled leaves its password to the thread: the place is free again only when that is done."""
    hasher = Argon2Hasher(workers=1, queue=0, memory_kib=32_768)
    gone = asyncio.create_task(hasher.hash("correct horse"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone

    async def is_free() -> bool:
        try:
            await hasher.hash("correct horse")
        except Unavailable:
            return False
        return True

    await until(is_free)
    hasher.close()


async def test_close_is_safe_twice() -> None:
    """Closing stops the threads, and again does nothing."""
    hasher = Argon2Hasher(workers=1, memory_kib=64)
    await hasher.hash("correct horse")

    hasher.close()
    hasher.close()
    await until(lambda: not any(thread.name.startswith("hash_") for thread in threading.enumerate()))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be kept to some cores")
@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (16, 15)])
def test_a_core_is_left_to_all_else(monkeypatch: pytest.MonkeyPatch, cores: int, threads: int) -> None:
    """A thread a core that the process may use but one, and one at least."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))

    assert usual_workers() == threads


async def test_hash_that_finds_no_memory_is_no_mismatch(hasher: Argon2Hasher) -> None:
    """Where the machine has no memory for a hash, a password is neither right nor wrong: `Unavailable`, and 503."""
    four_tib = "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaaVObG"
    with pytest.raises(Unavailable):
        await hasher.verify(four_tib, "correct horse")

    greedy = Argon2Hasher(workers=1, memory_kib=4_294_967_295)
    try:
        with pytest.raises(Unavailable):
            await greedy.hash("correct horse")
        with pytest.raises(Unavailable):
            await greedy.verify(None, "correct horse")
    finally:
        greedy.close()
