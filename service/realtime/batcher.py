"""Gathers the entries of one turn of the event loop, so that each live reader receives them in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from service.realtime.encoding import EncodedEntry
from service.realtime.subscribers import EventFilter, LiveReader, SubscriberGroup

# Delivered to a reader at once. A commit of thousands must not lie in every reader's buffer as a whole: a reader whose socket is
# full after the first piece reads the rest by itself.
_PIECE_BYTES: Final = 262_144
_LONG_S: Final = 0.001  # a delivery to so many readers takes longer than writers take to answer it
_MOST_PATIENCE_S: Final = 0.002


class Batcher:
    """Delivers entries at the end of the turn in which they were added, or a little later while many come quickly.

    A write to a thousand sockets takes 5 ms, whether it carries one entry or ten. Where entries come faster than that, the writers
    that wait for this very delivery are about to send the next ones, and a little patience makes one write of them all. Where
    entries come one by one, patience would only delay each. So it is a sixteenth of the time that the last delivery of
    several entries took, and at most 2 ms: a process that was suspended in a delivery must not spin for as long afterwards.

    Args:
        on_full: called with the readers whose sockets are full after a delivery.
    """

    def __init__(self, on_full: Callable[[list[LiveReader]], None]) -> None:
        self._on_full = on_full
        self._groups: dict[EventFilter, SubscriberGroup] = {}
        self._bytes = 0
        self._entries = 0
        self._patience_s = 0.0
        self._handle: asyncio.Handle | None = None

    @property
    def has_pending(self) -> bool:
        """Whether live readers have not received everything."""
        return bool(self._groups)

    def add(self, entry: EncodedEntry, groups: list[SubscriberGroup]) -> None:
        """Deliver an entry to these groups, soon."""
        for group in groups:
            group.pending.append(entry)
            self._groups[group.filter] = group
        if not self._groups:
            return
        self._bytes += len(entry.frame)
        self._entries += 1
        if self._bytes >= _PIECE_BYTES:
            self.flush()
        elif self._handle is None:
            self._flush_soon(perf_counter() + self._patience_s)

    def flush(self) -> None:
        """Deliver now what is pending."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if not self._groups:
            return
        began = perf_counter()
        for group in self._groups.values():
            self._on_full(group.deliver())
        took_s = perf_counter() - began
        is_busy = self._entries > 1 and took_s > _LONG_S
        self._patience_s = min(took_s / 16, _MOST_PATIENCE_S) if is_busy else 0.0
        # Not before: a reader that received something may ask up to where it was served.
        self._groups.clear()
        self._bytes = self._entries = 0

    def _flush_soon(self, at: float) -> None:
        # Turn by turn: uvloop's timers count in milliseconds.
        self._handle = asyncio.get_running_loop().call_soon(self._flush_at, at)

    def _flush_at(self, at: float) -> None:
        if perf_counter() < at:
            self._flush_soon(at)
        else:
            self.flush()
