"""Live readers with the same filter and encoding; each event is encoded once for the group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from service.realtime.encoding import EncodedEntry, WireEncoding, render

FULL_BYTES: Final = 65_536  # of a send buffer: asyncio's and uvloop's own high-water mark
# A reader that had room at the last check has room for as much again.
_CHECK_EVERY_BYTES: Final = FULL_BYTES // 4


class EventFilter(NamedTuple):
    """A reader's filter: entries with this key (None: all) and of these events (None: all)."""

    key: object = None
    events: frozenset[str] | None = None

    def matches(self, entry: EncodedEntry) -> bool:
        return (self.key is None or entry.key == self.key) and (self.events is None or entry.event in self.events)


class LiveReader(Protocol):
    """A reader at the head of a log, which receives new entries as they are delivered."""

    @property
    def filter(self) -> EventFilter: ...

    @property
    def encoding(self) -> WireEncoding: ...

    @property
    def put(self) -> Callable[[bytes], object]:
        """Sends bytes without waiting; may raise RuntimeError where the connection is gone."""

    @property
    def is_full(self) -> bool:
        """Whether the socket has not taken what it was sent."""

    def on_detached(self, seq: int) -> None:
        """Called when the log has detached it: it received everything up to `seq`."""


class EncodingGroup:
    """Live readers with the same filter and encoding.

    To a thousand members of a room a message is a thousand writes and nothing else: sent bytes are counted for all at once, and
    full sockets are looked for once in so many bytes. Each of the two was a third of the time outside the kernel.

    Attributes:
        readers: in the order of their coming, which is that of memory: a set's would cost a cache miss a reader.
        delivered_bytes: for a reader that was here from the beginning.
    """

    __slots__ = ("_unchecked_bytes", "delivered_bytes", "readers")

    def __init__(self) -> None:
        self.readers: dict[LiveReader, Callable[[bytes], object]] = {}
        self.delivered_bytes = 0
        self._unchecked_bytes = 0

    def send(self, data: bytes) -> list[LiveReader]:
        """Send to every reader; returns those whose sockets are full."""
        for put in self.readers.values():
            try:
                put(data)
            except RuntimeError:  # costs nothing where none is raised; uvloop's for a closed transport
                pass
        self.delivered_bytes += len(data)
        self._unchecked_bytes += len(data)
        if self._unchecked_bytes < _CHECK_EVERY_BYTES:
            return []
        self._unchecked_bytes = 0
        return [reader for reader in self.readers if reader.is_full]


class SubscriberGroup:
    """Live readers with the same filter, in a group for each encoding.

    Attributes:
        pending: entries that are to be delivered together.
    """

    __slots__ = ("by_encoding", "filter", "pending")

    def __init__(self, event_filter: EventFilter) -> None:
        self.filter = event_filter
        self.by_encoding: dict[WireEncoding, EncodingGroup] = {}
        self.pending: list[EncodedEntry] = []

    def add(self, reader: LiveReader) -> EncodingGroup:
        group = self.by_encoding.get(reader.encoding)
        if group is None:
            group = self.by_encoding[reader.encoding] = EncodingGroup()
        group.readers[reader] = reader.put
        return group

    def discard(self, reader: LiveReader) -> None:
        group = self.by_encoding.get(reader.encoding)
        if group is not None:
            group.readers.pop(reader, None)
            if not group.readers:
                del self.by_encoding[reader.encoding]

    def deliver(self) -> list[LiveReader]:
        """Send the pending entries; returns the readers whose sockets are full, which read on by themselves."""
        entries, self.pending = self.pending, []
        return self.send(lambda encoding: render(entries, encoding))

    def send(self, encode: Callable[[WireEncoding], bytes]) -> list[LiveReader]:
        """Send to every reader, in its encoding; returns those whose sockets are full."""
        return [reader for encoding, group in self.by_encoding.items() for reader in group.send(encode(encoding))]
