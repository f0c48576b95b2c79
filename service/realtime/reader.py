"""A place in a log, and the connection that reads from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from service.domain.positions import Position
from service.realtime.closing import LIMIT
from service.realtime.frames import Form, render
from service.realtime.log import Log, Page, Trimmed, Want

if TYPE_CHECKING:
    from service.realtime.connection import Connection

PAGE_BYTES: Final = 65_536


class Reader:
    """Reads one log for one connection: live at the head, by itself from the ring or the store when behind.

    Args:
        seq: place behind which to begin.
        on_trimmed: called when the log no longer holds what comes next; reading goes on from the head after it.
    """

    def __init__(self, log: Log, connection: Connection, want: Want, seq: int, on_trimmed: Callable[[], None]) -> None:
        self.log = log
        self.want = want
        self.live = False
        self._closed = False
        self._connection = connection
        self._seq = seq
        self._on_trimmed = on_trimmed

    @property
    def form(self) -> Form:
        return self._connection.form

    @property
    def position(self) -> Position:
        """Up to where everything this reader wants was sent."""
        return Position(self.log.epoch, self.log.handed_out if self.live else self._seq)

    def offer(self, data: bytes) -> bool:
        return self._connection.write(data)

    def fall_behind(self, seq: int) -> None:
        self.live = False
        self._seq = seq
        self._connection.wake()

    async def step(self) -> None:
        """Send one page; at the head, go live in the very turn in which the place equals it."""
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
            self._connection.write(render(page.entries, self.form))
        self._seq = page.seen
        self.live = self.log.attach(self, self.want, self._seq)

    async def _page(self) -> Page:
        return await self.log.page(self._seq, self.want, PAGE_BYTES)

    def close(self) -> None:
        """Read no more. Safe to call twice."""
        self._closed = True
        self.live = False
        self.log.detach(self, self.want)


class LimitedReader(Reader):
    """Sends so many entries, then ends its connection.

    What is handed out live is one piece for many readers and cannot be cut: this one lets it pass, takes it as a sign
    that there is something, and reads its own pages.
    """

    def __init__(
        self, log: Log, connection: Connection, want: Want, seq: int, on_trimmed: Callable[[], None], limit: int
    ) -> None:
        super().__init__(log, connection, want, seq, on_trimmed)
        self._left = limit

    def offer(self, data: bytes) -> bool:
        return False

    def fall_behind(self, seq: int) -> None:
        super().fall_behind(self.log.handed_out)

    async def step(self) -> None:
        await super().step()
        if not self._left:
            self._connection.end(LIMIT)

    async def _page(self) -> Page:
        page = await super()._page()
        entries = page.entries[: self._left]
        self._left -= len(entries)
        return Page(entries, page.seen if self._left else entries[-1].seq)
