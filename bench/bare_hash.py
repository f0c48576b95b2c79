"""argon2id and nothing else: `python -m bench.bare_hash seconds` prints how many hashes a second that makes.

In as many threads as Roster has on the same cores, with the same parameters.
"""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter

from service.security.argon2_hasher import Argon2Hasher, usual_workers


async def measure(seconds: float) -> float:
    threads = usual_workers()
    hasher = Argon2Hasher(queue=threads)
    known = await hasher.hash("correct horse battery staple")
    done = 0
    began_at = perf_counter()

    async def work() -> None:
        nonlocal done
        while perf_counter() - began_at < seconds:
            await hasher.verify(known, "correct horse battery staple")
            done += 1

    # Twice as many as threads: none of these waits for this loop to hand it the next one.
    await asyncio.gather(*(work() for _ in range(2 * threads)))
    rate = done / (perf_counter() - began_at)
    hasher.close()
    return rate


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(measure(float(sys.argv[1])))}\n")
