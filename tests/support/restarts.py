"""Reloads and a killed worker, which readers and writers of the deployed service must not notice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

from tests.support.crowd import crowd
from tests.support.readers import seq_of
from tests.support.wait import until


async def restart(store_url: str, readers: int, tell: Callable[[str], None], *, reloads: int, rest_s: float) -> None:
    """Reload so many times and kill the worker once, under so many readers and a writer, with data in this store.

    Args:
        tell: takes a line with figures.
        rest_s: how long all go on between these.
    """
    chance = random.Random(4)
    # Spreading the end of streams over two seconds keeps the next worker waiting for the store, and with it the readers that left
    # first.
    async with crowd(readers, ROSTER_STORE_URL=store_url, ROSTER_DRAIN_SPREAD_S="0.2") as (service, people):
        tell(f"{readers} readers connected in {await people.open():.2f} s")
        (begin,) = {seq_of(reader.place) for reader in people.readers}
        persisting = [
            asyncio.create_task(reader.persist(random.Random(chance.random()), back_s=1)) for reader in people.readers
        ]
        stop = asyncio.Event()
        writing = asyncio.create_task(people.write_through(stop))

        async def all_back(times: int) -> None:
            await until(lambda: all(len(reader.away_s) >= times for reader in people.readers), timeout=30)
            await asyncio.sleep(rest_s)
            away = sorted(reader.away_s[times - 1] for reader in people.readers)
            tell(f"back after {away[len(away) // 2]:.2f} s (median), {away[-1]:.2f} s (last)")

        await asyncio.sleep(rest_s)
        for times in range(1, reloads + 1):
            (old,) = service.workers
            service.signal(signal.SIGHUP)
            await all_back(times)
            await until(lambda old=old: len(service.workers) == 1 and service.workers != [old], timeout=20)  # type: ignore[misc]  # mypy has no type for a lambda with a default
        os.kill(service.worker, signal.SIGKILL)
        await all_back(reloads + 1)

        stop.set()
        written = await writing
        for task in persisting:
            task.cancel()
        await asyncio.gather(*persisting, return_exceptions=True)
        tell(f"{len(written.versions)} writes, {written.longest_s:.2f} s the longest, failures: {written.failures}")

        expected = await people.expected(begin)
        assert written.versions.keys() <= set(expected[people.admin.id])
        await until(lambda: all(len(r.taken) >= len(expected[r.by.id]) for r in people.readers), timeout=20)
        assert all(reader.taken == expected[reader.by.id] for reader in people.readers)
        assert [reader.faults for reader in people.readers if reader.faults] == []
        assert [reader.resets for reader in people.readers if reader.resets] == []
        assert {len(reader.away_s) for reader in people.readers} == {reloads + 1}
        assert (
            max(max(reader.away_s) for reader in people.readers) < 10
        )  # a reload takes some two seconds, and a busy host longer
        # The request that was cut off with its worker; a reload costs none.
        assert len(written.failures) <= 1
