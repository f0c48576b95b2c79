"""The numbers of workers, and the connections that they report."""

from __future__ import annotations

import os

from service.server.workers.slots import WorkerSlots


def test_a_number_is_given_back_by_a_killed_worker() -> None:
    """Workers get the lowest free numbers; one that ends without a word frees its own."""
    slots = WorkerSlots()
    first = slots.claim()
    ready, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, bytes([slots.claim().number]))
        os._exit(0)
    os.waitpid(child, 0)
    assert (first.number, os.read(ready, 1)) == (0, b"\x01")
    assert slots.claim().number == 1
    slots.remove()


def test_only_live_workers_count() -> None:
    """The least busy worker is found among those that report; one that withdraws is none of them."""
    slots = WorkerSlots()
    first, second = slots.claim(), slots.claim()
    assert first.find_least() is None
    first.report(40)
    second.report(7)
    assert first.find_least() == 7
    second.withdraw()
    assert first.find_least() == 40
    slots.remove()
