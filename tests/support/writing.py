"""A process that writes to PostgreSQL beside others: `python -m tests.support.writing <url> <what> <count>`.

It shares the database, as many processes will, and says on one line what became of its writes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from service.domain.ports import Transaction
from service.store.postgres.store import PostgresStore
from tests.support.domain import BY, a_user, created, updated
from tests.support.forked import fork, run_python

ROOT: Final = Path(__file__).parents[2]
# Two users whom everybody changes, who are found by their ids in any process.
PAIR: Final = (UUID(int=1), UUID(int=2))
HOT: Final = tuple(UUID(int=number) for number in range(1, 21))
_AT_ONCE: Final = 8

Work = Callable[[Transaction], Awaitable[None]]


def slow(chance: random.Random) -> Work:
    """Make a user, with pauses in the transaction."""

    async def work(transaction: Transaction) -> None:
        user = a_user(username=f"made{chance.getrandbits(64):x}"[:32], email=f"{chance.getrandbits(64):x}@example.com")
        await transaction.users.save(user)
        await asyncio.sleep(chance.uniform(0, 0.03))
        await transaction.events.append(created(user))

    return work


def crossed(chance: random.Random) -> Work:
    """Change both of the pair in one order or the other, with a pause between them: two that wait make a deadlock."""

    async def work(transaction: Transaction) -> None:
        for user_id in chance.sample(PAIR, 2):
            user = await transaction.users.find(user_id)
            assert user is not None
            assert user.age is not None
            await asyncio.sleep(chance.uniform(0, 0.005))
            await transaction.users.save(user := replace(user, age=user.age + 1))
            await transaction.events.append(updated(user, "age"))

    return work


def hot(chance: random.Random) -> Work:
    """Change one of a few users whom all processes change at once."""

    async def work(transaction: Transaction) -> None:
        user = await transaction.users.find(chance.choice(HOT))
        assert user is not None
        assert user.age is not None
        await transaction.users.save(user := replace(user, age=user.age + 1))
        await transaction.events.append(updated(user, "age"))

    return work


async def write(url: str, what: str, count: int) -> None:
    store = PostgresStore(url, lambda: datetime.now(UTC), wait_s=None)
    await store.open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)  # until all are
    chance = random.SystemRandom()
    outcomes: Counter[str] = Counter()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one() -> None:
        async with gate:
            try:
                await store.write({"slow": slow, "crossed": crossed, "hot": hot}[what](chance), BY)
            except Exception as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["written"] += 1

    await asyncio.gather(*(one() for _ in range(count)))
    await store.close()
    sys.stdout.write(json.dumps(outcomes))


async def processes(count: int, *arguments: str) -> list[dict[str, int]]:
    """Run so many of them, all of which begin together; what became of the writes of each."""
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(_running(*arguments)) for _ in range(count)]
        for reader, _ in running:
            assert await reader.readline() == b"ready\n"
        for _, writer in running:
            writer.write(b"\n")
        return [json.loads(await reader.read()) for reader, _ in running]


@asynccontextmanager
async def _running(*arguments: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One of them, with its output and its input."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await fork(
            run_python, "-m", "tests.support.writing", *arguments, folder=str(ROOT), environment=dict(os.environ),
            stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=sys.stderr.fileno(),
        )  # fmt: skip
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield reader, writer
    finally:
        writer.close()
        process.kill_group()
        await process.wait()


def main(url: str, what: str, count: str, *_: Any) -> None:
    asyncio.run(write(url, what, int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
