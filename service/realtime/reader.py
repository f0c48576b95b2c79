"""A place in a log, and the connection that reads from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from service.domain.events.position import Position
from service.realtime.broadcast_log import BroadcastLog, Page, Trimmed
from service.realtime.close_reasons import LIMIT, CloseReason
from service.realtime.encoding import WireEncoding, render
from service.realtime.subscribers import EncodingGroup, EventFilter

PAGE_BYTES: Final = 65_536


class ReaderConnection(Protocol):
    """The connection of a reader, as far as the reader uses it."""

    encoding: WireEncoding

    @property
    def is_full(self) -> bool:
        """Whether its send buffer takes no more for now."""

    @property
    def put(self) -> Callable[[bytes], object]: ...

    def write(self, data: bytes) -> bool: ...

    def count_sent(self, size: int) -> None: ...

    def wake(self) -> None: ...

    def pause_readers(self) -> None: ...

    def end(self, ending: CloseReason, after_s: float = 0) -> None: ...


class Reader:
    """Reads one log for one connection: live at the head, else detached, with pages from the ring or the store.

    Args:
        seq: the seq after which to begin.
        on_trimmed: called when the log no longer holds what comes next; reading goes on from the head after it.
        on_reset: called with the reason when the log was continued at another position; None for a log that never is.
    """

    def __init__(
        self,
        log: BroadcastLog,
        connection: ReaderConnection,
        event_filter: EventFilter,
        seq: int,
        on_trimmed: Callable[[], None],
        on_reset: Callable[[str], None] | None = None,
    ) -> None:
        self.log = log
        self._epoch = log.epoch
        self._ring = log.ring
        self.filter = event_filter
        self.encoding = connection.encoding
        # The connection's own, without a call between.
        self.put = connection.put
        self._live = False
        self._closed = False
        self._connection = connection
        self._seq = seq
        self._on_trimmed = on_trimmed
        self._on_reset = on_reset
        self._group: EncodingGroup | None = None
        self._delivered_before = 0

    @property
    def live(self) -> bool:
        """Whether it stands at the head and has nothing to do by itself."""
        return self._live

    @property
    def is_full(self) -> bool:
        return self._connection.is_full

    @property
    def delivered_bytes(self) -> int:
        """The bytes that were delivered live and that the connection has not counted yet."""
        return 0 if self._group is None else self._group.delivered_bytes - self._delivered_before

    @property
    def position(self) -> Position:
        """Up to where everything this reader wants was sent."""
        return Position(self._epoch, self.log.delivered_seq if self._live else self._seq)

    def on_detached(self, seq: int) -> None:
        self._leave_group()
        self._seq = seq
        if self.is_full:
            self._connection.pause_readers()
        self._connection.wake()

    def pause(self) -> None:
        """Read on by itself from here; harmless when it does already."""
        if self._live:
            self._seq = self.log.delivered_seq
            self.log.detach(self)
            self._leave_group()

    async def step(self) -> None:
        """Send one page; at the head, go live in the very turn in which the place equals it."""
        if self._ring is not self.log.ring and self._on_reset is not None:
            self._reset(self._on_reset)
            return
        try:
            page = await self._page()
        except Trimmed:
            if not self._closed:
                self._seq = self.log.ring.head
                self._on_trimmed()
            return
        # No await from here on: not between this check and the writing, nor between the last page and the attachment.
        if self._closed:
            return
        if page.entries:
            self._connection.write(render(page.entries, self.encoding))
        self._seq = page.seen
        self._go_live()

    def _reset(self, on_reset: Callable[[str], None]) -> None:
        log = self.log
        reason = "trimmed" if log.epoch == self._epoch else "epoch"
        self._ring, self._epoch, self._seq = log.ring, log.epoch, log.ring.head
        if not self._closed:
            on_reset(reason)

    def _go_live(self) -> None:
        self._group = self.log.attach(self, self._seq)
        if self._group is not None:
            self._live = True
            self._delivered_before = self._group.delivered_bytes

    def _leave_group(self) -> None:
        self._connection.count_sent(self.delivered_bytes)
        self._group = None
        self._live = False

    async def _page(self) -> Page:
        return await self.log.page(self._seq, self.filter, PAGE_BYTES)

    def close(self) -> None:
        """Read no more. Safe to call twice."""
        self._closed = True
        self._leave_group()
        self.log.detach(self)


class LimitedReader(Reader):
    """Sends so many entries, then ends its connection.

    Live delivery is one piece for many readers and cannot be cut: this reader is only notified that there is
    something, and reads its own pages.
    """

    def __init__(
        self,
        log: BroadcastLog,
        connection: ReaderConnection,
        event_filter: EventFilter,
        seq: int,
        on_trimmed: Callable[[], None],
        limit: int,
        on_reset: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(log, connection, event_filter, seq, on_trimmed, on_reset)
        self._left = limit

    def _go_live(self) -> None:
        self._live = self.log.watch(self, self._seq)

    async def step(self) -> None:
        await super().step()
        if not self._left:
            self._connection.end(LIMIT)

    async def _page(self) -> Page:
        page = await super()._page()
        entries = page.entries[: self._left]
        self._left -= len(entries)
        return Page(entries, page.seen if self._left else entries[-1].seq)
