"""Which core serves and which one makes the load, so that neither takes time from the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of a measurement: None where a process cannot be pinned, equal where there is only one."""

    server: int | None
    load: int | None

    @property
    def both(self) -> frozenset[int] | None:
        """For a server that needs more than one."""
        return None if self.server is None or self.load is None else frozenset((self.server, self.load))

    def __str__(self) -> str:
        if self.server is None:
            return "not pinned"
        return f"servers on core {self.server}, load on core {self.load}"


def choose() -> Cores:
    """The first and the last core that this process may use.

    With more than two these are never the two threads of one core: Linux numbers siblings side by side or half the
    machine apart.
    """
    if sys.platform != "linux":
        return Cores(None, None)
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1])


def pin(core: int | Collection[int] | None) -> None:
    """Keep this process, and every child it starts from now on, on one core or some; None leaves all as it is."""
    if sys.platform == "linux" and core is not None:
        os.sched_setaffinity(0, {core} if isinstance(core, int) else core)


@contextmanager
def visiting(core: int | Collection[int] | None) -> Iterator[None]:
    """Be on that core, or those, meanwhile. A child started here is born there, before it can have a thread elsewhere."""
    if sys.platform != "linux":
        yield
        return
    home = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, home)
