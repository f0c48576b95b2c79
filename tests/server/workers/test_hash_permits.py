"""Threads of several workers that share a bound."""

from __future__ import annotations

import threading
from pathlib import Path

from service.server.workers.hash_permits import HashPermits


def test_workers_together_hold_as_many_permits_as_there_are(tmp_path: Path) -> None:
    """Two workers with four threads each hold two permits at a time, and never more."""
    workers = [HashPermits(tmp_path, 2) for _ in range(2)]
    lock, two = threading.Lock(), threading.Event()
    held = most = 0

    def work(permits: HashPermits) -> None:
        nonlocal held, most
        for _ in range(50):
            with permits.hold():
                with lock:
                    held += 1
                    most = max(most, held)
                    if held == 2:
                        two.set()
                two.wait(5)
                with lock:
                    held -= 1

    threads = [threading.Thread(target=work, args=(workers[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
