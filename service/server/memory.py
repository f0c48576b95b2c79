"""Bounds the pauses of the garbage collector, and returns freed memory to the system."""

from __future__ import annotations

import ctypes
import gc
import time
from contextlib import suppress


def freeze_gc() -> None:
    """Exclude all present objects from garbage collection. Call it when the service is built.

    Modules and services live as long as the process. Walking through them would stop the process for 70 ms, several times
    a second during an import of users.
    """
    gc.collect()
    gc.freeze()


def trim_heap() -> float:
    """Collect garbage and return freed memory to the system. Blocks for some 10 ms, and longer with more live objects.

    Python's collector counts allocations, not frees, and aiohttp's WebSocket objects are cycles. After thousands of
    connections have closed, the collector may not run for a long time. glibc keeps freed memory unless it is trimmed.

    Returns: the duration, in seconds.
    """
    began = time.perf_counter()
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc has this function
        ctypes.CDLL(None).malloc_trim(0)
    return time.perf_counter() - began
