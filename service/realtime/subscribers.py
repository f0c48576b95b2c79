"""Live readers with the same filter and encoding; each event is encoded once for the group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from service.realtime.encoding import EncodedEntry, WireEncoding, render

FULL_BYTES: Final = 65_536  # of a send buffer: asyncio's and uvloop's own high-water mark
# A reader that had room at the last check has room for as much again.
_LOOK_EVERY_BYTES: Final = FULL_BYTES // 4


class EventFilter(NamedTuple):
    """A reader's filter: entries with this key (None: all) and of these events (None: all)."""

    key: object = None
    events: frozenset[str] | None = None

    def takes(self, entry: EncodedEntry) -> bool:
        return (self.key is None or entry.key == self.key) and (self.events is None or entry.event in self.events)


class LiveReader(Protocol):
    """A reader at the head of a log, which receives new entries as they are delivered."""

    @property
    def want(self) -> EventFilter: ...

    @property
    def form(self) -> WireEncoding: ...

    @property
    def put(self) -> Callable[[bytes], object]:
        """Sends bytes without waiting; may raise RuntimeError where the connection is gone."""

    @property
    def is_full(self) -> bool:
        """Whether the socket has not taken what it was sent."""

    def fall_behind(self, seq: int) -> None:
        """Called when it was detached: what it was handed reached up to `seq`."""


class EncodingGroup:
    """Readers that want the same in the same form.

    To a thousand members of a room a message is a thousand writes and nothing else: what was sent is counted for all at
    once, and whose socket is full is looked at once in so many bytes. Each was a third of the time that is not the
    kernel's.

    Attributes:
        readers: in the order of their coming, which is that of memory: a set's would cost a cache miss a reader.
        handed_bytes: what each that was here from the beginning was handed.
    """

    __slots__ = ("_unlooked_bytes", "handed_bytes", "readers")

    def __init__(self) -> None:
        self.readers: dict[LiveReader, Callable[[bytes], object]] = {}
        self.handed_bytes = 0
        self._unlooked_bytes = 0

    def offer(self, data: bytes) -> list[LiveReader]:
        """Send to every reader; returns those whose sockets are full."""
        for put in self.readers.values():
            try:
                put(data)
            except RuntimeError:  # costs nothing where none is raised; uvloop's for a closed transport
                pass
        self.handed_bytes += len(data)
        self._unlooked_bytes += len(data)
        if self._unlooked_bytes < _LOOK_EVERY_BYTES:
            return []
        self._unlooked_bytes = 0
        return [reader for reader in self.readers if reader.is_full]


class SubscriberGroup:
    """Readers that want the same, a lane for each form."""

    __slots__ = ("gathered", "lanes", "want")

    def __init__(self, want: EventFilter) -> None:
        self.want = want
        self.lanes: dict[WireEncoding, EncodingGroup] = {}
        self.gathered: list[EncodedEntry] = []

    def add(self, reader: LiveReader) -> EncodingGroup:
        lane = self.lanes.get(reader.form)
        if lane is None:
            lane = self.lanes[reader.form] = EncodingGroup()
        lane.readers[reader] = reader.put
        return lane

    def discard(self, reader: LiveReader) -> None:
        lane = self.lanes.get(reader.form)
        if lane is not None:
            lane.readers.pop(reader, None)
            if not lane.readers:
                del self.lanes[reader.form]

    def deliver(self) -> list[LiveReader]:
        """Send what has gathered; returns those whose sockets are full, who read on by themselves."""
        entries, self.gathered = self.gathered, []
        return self.offer(lambda form: render(entries, form))

    def offer(self, made: Callable[[WireEncoding], bytes]) -> list[LiveReader]:
        """Send to every reader, in its form; returns those whose sockets are full."""
        return [reader for form, lane in self.lanes.items() for reader in lane.offer(made(form))]
