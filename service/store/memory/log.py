"""The log of the memory store: the newest events, bounded by count and by bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice
from uuid import UUID

from service.domain.events.event import Event
from service.domain.events.position import Position, new_epoch
from service.domain.events.query import EXAMINED_MAX, EventPage, EventQuery

_HELD_TIMES = 4  # so many times the bytes it may have otherwise the log may have while it is held
_MOST_FORGOTTEN = (
    100  # events trimmed at once: after a long import there are 100,000, which take a good part of a second
)
_MOST_REDACTED = 500  # at once, which takes some milliseconds
_EVENT_BYTES = 1_000  # of an event with its user and its place in the indexes, without the text in it (measured: 960)


class MemoryLog:
    """Events in commit order, with an index by subject, so that a member's page costs nothing on others' events."""

    def __init__(self, keep_events: int, keep_bytes: int) -> None:
        self.position = Position(new_epoch(), 0)
        self._keep_events = keep_events
        self._keep_bytes = keep_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._by_subject: dict[UUID, list[int]] = {}
        self._holds: dict[UUID, tuple[int, datetime]] = {}
        # By subject, the seq of the newest such event: both questions must not cost a walk through a user's events.
        self._role_changes: dict[UUID, int] = {}
        self._deletions: dict[UUID, int] = {}
        self._to_redact: deque[list[int]] = deque()  # seqs of deleted users, in ascending order

    @property
    def first(self) -> int:
        """The lowest seq still held; head + 1 when nothing is."""
        return self.position.seq - len(self._events) + 1

    def append(self, event: Event) -> Event:
        """Give the event the next seq and keep it."""
        event = event.at(self.position.seq + 1)
        self.position = Position(self.position.epoch, event.seq)
        self._events.append(event)
        self._by_subject.setdefault(event.subject, []).append(event.seq)
        if event.type == "user.deleted":
            self._deletions[event.subject] = event.seq
        elif "role" in event.changed:
            self._role_changes[event.subject] = event.seq
        self._bytes += _size(event)
        for _ in range(_MOST_FORGOTTEN):
            if not self._is_too_much or self._is_held:
                break
            self._forget_oldest()
        return event

    def start_new_epoch(self, epoch: str) -> None:
        """Start a new epoch, if this is still its epoch."""
        if self.position.epoch == epoch:
            self.position = Position(new_epoch(), self.position.seq)

    def hold(self, holds: Mapping[UUID, datetime], now: datetime) -> None:
        """Retain events after the present head until then, or after the head of an existing hold; drop expired holds."""
        head = self.position.seq
        self._holds |= {hold: (self._holds.get(hold, (head,))[0], until) for hold, until in holds.items()}
        if self._holds:
            self._holds = {hold: held for hold, held in self._holds.items() if held[1] > now}

    @property
    def _is_too_much(self) -> bool:
        return len(self._events) > self._keep_events or (self._bytes > self._keep_bytes and len(self._events) > 1)

    @property
    def _is_held(self) -> bool:
        # Memory is not bought by a promise to readers.
        if not self._holds or self._bytes > _HELD_TIMES * self._keep_bytes:
            return False
        return self.first > min(after for after, _ in self._holds.values())

    def redact(self, subject: UUID) -> None:
        """Show no copy of the user in its events (design: they keep id, type and subject).

        Of many events, which would take seconds, `redact_some` removes the copies little by little; `page` shows none of them
        from now on.
        """
        self._to_redact.append(list(self._by_subject.get(subject, ())))

    def redact_some(self) -> None:
        """Remove some copies of deleted users, to be called once a write: a write may append hundreds of events."""
        for _ in range(_MOST_REDACTED):
            if not self._to_redact:
                return
            seqs = self._to_redact[0]
            # The newest first: where one is forgotten, so are those before it.
            if not seqs or seqs[-1] < self.first:
                self._to_redact.popleft()
                continue
            index = seqs.pop() - self.first
            event = self._events[index]
            if event.user is not None:
                redacted = event.redacted()
                self._bytes += _size(redacted) - _size(event)
                self._events[index] = redacted

    def _shown(self, event: Event) -> Event:
        is_left = event.user is not None and event.seq < self._deletions.get(event.subject, 0)
        return event.redacted() if is_left else event

    def page(self, query: EventQuery) -> EventPage:
        """The events a query asks for, from what is still held."""
        first, head = self.first, self.position.seq
        last = head if query.until is None else min(query.until, head)
        found: list[Event] = []
        seen = last
        events = self._range(max(query.after + 1, first), last, query.subject)
        for examined, event in enumerate(events):
            if query.types is not None:
                if examined == EXAMINED_MAX:
                    seen = event.seq - 1
                    break
                if event.type not in query.types:
                    continue
            if len(found) == query.limit:
                seen = found[-1].seq
                break
            found.append(self._shown(event) if self._to_redact else event)
        return EventPage(found, max(seen, query.after), first, self.position)

    def has_role_changed(self, subject: UUID, after: int) -> bool:
        """Whether an event after that seq changed the subject's role."""
        return self._role_changes.get(subject, 0) > after

    def deleted(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these ids belong to a `user.deleted` event that is still held."""
        return {user_id for user_id in ids if user_id in self._deletions}

    def _range(self, low: int, high: int, subject: UUID | None) -> Iterable[Event]:
        first = self.first
        if subject is None:
            return self._slice(low - first, high - first + 1)
        seqs = self._by_subject.get(subject, [])
        places = range(bisect_right(seqs, low - 1), bisect_right(seqs, high))
        return (self._events[seqs[place] - first] for place in places)

    def _slice(self, start: int, stop: int) -> Iterable[Event]:
        # From the nearer end: the hub asks at each commit for the last few of 100,000 events, which from the
        # other end take 0.3 ms to reach.
        size = len(self._events)
        if start >= stop:
            return ()
        if start < size - start:
            return islice(self._events, start, stop)
        return reversed(list(islice(reversed(self._events), size - stop, size - start)))

    def _forget_oldest(self) -> None:
        event = self._events.popleft()
        self._bytes -= _size(event)
        seqs = self._by_subject[event.subject]
        seqs.pop(0)
        if not seqs:
            del self._by_subject[event.subject]
        for newest in (self._role_changes, self._deletions):
            if newest.get(event.subject) == event.seq:
                del newest[event.subject]


def _size(event: Event) -> int:
    user = event.user
    return _EVENT_BYTES + (len(user.email) + len(user.name) + len(user.username) if user else 0)
