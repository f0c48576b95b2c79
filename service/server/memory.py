"""Memory that lasts, and memory that is freed when many connections end together."""

from __future__ import annotations

import ctypes
import gc
import time
from contextlib import suppress


def freeze_gc() -> None:
    """Have Python's collector look no more at what is there: the modules, and what a service is made of.

    That is most of what it would walk through each time, with everything standing still: 70 ms, several times a second
    while users are imported.
    """
    gc.collect()
    gc.freeze()


def trim_heap() -> float:
    """Free what ended and return it to the system; how many seconds that took: some 10 ms, and more the more is alive.

    Python's collector counts allocations, not frees: after thousands of connections have closed it may not run for long,
    and aiohttp's WebSocket objects are cycles. glibc keeps freed memory unless it is trimmed.
    """
    began = time.perf_counter()
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such thing
        ctypes.CDLL(None).malloc_trim(0)
    return time.perf_counter() - began
