"""The feed of accounts: follows the store's log and delivers every event to the readers that may see it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from service.domain.events import visibility
from service.domain.events.event import Event
from service.domain.events.position import Position, lost
from service.domain.events.query import EventQuery
from service.domain.ports import Store
from service.realtime.broadcast_log import BroadcastLog, Page, Trimmed
from service.realtime.encoding import EncodedEntry, compact
from service.realtime.ring import Ring
from service.realtime.subscribers import EventFilter
from service.schemas.events import event_json

log = logging.getLogger("roster.feed")

_PAGE_EVENTS: Final = 500
_STORE_PAGE_EVENTS: Final = 100
_FOLLOWED_EVENTS: Final = 100  # takes 2 ms; an import brings 500 at once, and then others have their turn between
_REDACTED_EVENTS: Final = 100  # takes 3 ms
_RING_ENTRIES: Final = 10_000
_RING_BYTES: Final = 16 << 20
MOST_SILENT_S: Final = 5.0  # a process that cannot follow the log for so long is blind to revocation
_LOOK_EVERY_S: Final = 0.5  # a lost bell costs half a second, never an event


class Hub(BroadcastLog):
    """The log of accounts, as readers see it: keys are subjects, events are types.

    The store's log is the truth; this follows it from its own last seq, woken by the bell of a commit and by its own
    clock.
    """

    def __init__(self, store: Store) -> None:
        super().__init__("", Ring(0, _RING_ENTRIES, _RING_BYTES))
        self._store = store
        self._principal_listeners: list[Callable[[Event], None]] = []
        self._failure_listeners: list[Callable[[], None]] = []
        self._bell = asyncio.Event()
        self._looked = asyncio.Event()
        self._followed_at = time.monotonic()
        self._failing = False
        self._gave_up = False
        self._last: tuple[object, ...] | None = None  # identifies the event at the head

    def add_principal_listener(self, listener: Callable[[Event], None]) -> None:
        """Call it, in the order of the log, with each event that revokes access or renames a user.

        The call comes after the event was delivered, or before it if the event changes a role. Later events are delivered after
        the call.
        """
        self._principal_listeners.append(listener)

    def add_failure_listener(self, listener: Callable[[], None]) -> None:
        """Call it when this process may have missed a revocation: the log could not be followed, or its epoch changed."""
        self._failure_listeners.append(listener)

    async def open(self) -> None:
        """Begin at the present head of the store's log."""
        self._start_at(await self._store.events.read_position())
        self._store.add_commit_listener(lambda _: self._bell.set())

    @property
    def silent_s(self) -> float:
        """For how many seconds the log could not be followed."""
        return time.monotonic() - self._followed_at

    @property
    def is_current(self) -> bool:
        """Whether what this process knows of the log can be relied upon, revocation included."""
        return self.silent_s <= MOST_SILENT_S

    def check(self) -> None:
        """Give up on readers once the log could not be followed for too long; to be called once a second or oftener.

        Not left to `follow`: a store that does not answer at all keeps it waiting.
        """
        if self.is_current:
            self._gave_up = False
        elif not self._gave_up:
            self._gave_up = True
            log.error("event log could not be followed; closing streams", extra={"silent_s": round(self.silent_s, 1)})
            self._report_failure()

    async def follow(self) -> None:
        """Follow the log until cancelled. A store that fails is asked again."""
        while True:
            try:
                await self._catch_up()
                if self._failing:
                    log.warning("event log followed again", extra={"silent_s": round(self.silent_s, 1)})
                    self._failing = False
                self._followed_at = time.monotonic()
                looked, self._looked = self._looked, asyncio.Event()
                looked.set()
            except Exception:
                if not self._failing:  # once an outage, not twice a second
                    log.exception("cannot follow the event log; will retry")
                    self._failing = True
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()

    async def lost(self, position: Position, reader: UUID) -> str | None:
        """The reason why a user cannot resume from there; the store decides, since this process may be a little late."""
        if position.epoch == self.epoch and position.seq > self.ring.head:
            if position.seq > (await self._store.events.read_position()).seq:
                return "ahead"
            # A reader must not stand ahead of the ring: it would be handed again what it has seen.
            while position.epoch == self.epoch and position.seq > self.ring.head:
                await self._looked.wait()
        if reason := lost(position, self.head, await self.first()):
            return reason
        return "rights" if await visibility.changed_since(self._store, reader, position.seq) else None

    async def first(self) -> int:
        """The lowest seq that can still be read."""
        return (await self._store.events.list_page(EventQuery(self.ring.head, 1))).first

    async def page(self, after: int, wanted: EventFilter, most_bytes: int) -> Page:
        """The entries after a seq, up to the head that readers have seen; from the store if the ring lacks them."""
        # For old positions, the store finds the events of one subject by its index; the ring would be searched entirely.
        # For recent positions only the ring is fast enough: while a store is asked the head moves on, and a reader that asks
        # it for the last few would never become live.
        if self.ring.reaches(after) and (wanted.key is None or self.ring.head - after <= _PAGE_EVENTS):
            return await super().page(after, wanted, most_bytes)
        found = await self._store.events.list_page(
            EventQuery(after, _STORE_PAGE_EVENTS, self.ring.head, wanted.key, wanted.events)  # type: ignore[arg-type]  # keys of this log are subjects
        )
        if after + 1 < found.first or found.position.epoch != self.epoch:
            raise Trimmed()
        return Page([self._entry(event) for event in found.events], found.seen)

    def _report_failure(self) -> None:
        for listener in self._failure_listeners:
            listener()

    async def _catch_up(self) -> None:
        while True:
            head = self.ring.head
            # From the last event on, which must be the same one: a standby that took over may lack the last commits of the
            # server before it, and assigns their seqs again. Other processes may have written past them since.
            page = await self._store.events.list_page(EventQuery(max(head - 1, 0), _FOLLOWED_EVENTS))
            last = page.events[0] if page.events and page.events[0].seq == head else None
            if page.position.epoch == self.epoch and (page.position.seq < head or self._is_other(last)):
                log.error("event log was rewound; starting a new epoch", extra={"position": str(self.head)})
                await self._store.events.start_new_epoch(self.epoch)
                continue
            if page.position.epoch != self.epoch or page.first > head + 1:
                # A new epoch, or more than the log retains was written in half a second: readers find out by
                # themselves that they cannot go on from where they are.
                log.warning("event log epoch changed; closing streams", extra={"position": str(page.position)})
                self._start_at(page.position)
                self._report_failure()
                return
            for event in page.events[last is not None :]:
                if event.type == "user.deleted":
                    await self._redact(event)
                self._publish(event)
            if page.events:
                self._last = _identify(page.events[-1])
            if self.ring.head >= page.position.seq:
                return
            await asyncio.sleep(0)  # neither a store in memory nor one in a file waits for anything

    def _is_other(self, event: Event | None) -> bool:
        """Whether the event at the head is another one than the one that readers received."""
        return event is not None and self._last is not None and self._last != _identify(event)

    def _publish(self, event: Event) -> None:
        # Streams of a user whose role changes end before the event: they resume before it and receive a reset.
        ends_first = "role" in event.changed
        if not ends_first:
            self.append(self._entry(event))
        if event.ends_access or "username" in event.changed:
            self.flush()
            for listener in self._principal_listeners:
                listener(event)
        if ends_first:
            self.append(self._entry(event))

    async def _redact(self, deleted: Event) -> None:
        """Remove the copies of a deleted user from the ring, before the deletion is published.

        Other tasks get turns: ten thousand entries take 0.3 s. A reader meanwhile is at a position before the deletion.
        """
        copies = (
            entry
            for entry in self.ring.after(self.ring.first - 1, 1 << 62)
            if entry.key == deleted.subject and entry.event.startswith("user.")
        )
        for count, entry in enumerate(copies, 1):
            data = compact(json.loads(entry.data) | {"user": None})
            self.ring.replace(_made(entry.seq, entry.key, entry.event, entry.position, data))
            if not count % _REDACTED_EVENTS:
                await asyncio.sleep(0)

    def _entry(self, event: Event) -> EncodedEntry:
        return _made(
            event.seq, event.subject, event.type, str(Position(self.epoch, event.seq)), event_json(event, self.epoch)
        )

    def _start_at(self, position: Position) -> None:
        self.flush()
        self.epoch = position.epoch
        self._last = None
        self.ring = Ring(position.seq, _RING_ENTRIES, _RING_BYTES)


def _identify(event: Event) -> tuple[object, ...]:
    return event.seq, event.type, event.time, event.subject


def _made(seq: int, key: object, event: str, position: str, data: bytes) -> EncodedEntry:
    return EncodedEntry(seq, key, event, position, data, b'{"type":"event","event":' + data + b"}")
