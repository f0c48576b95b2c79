"""Queries of the event log, and the pages that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service.domain.events.event import Event
from service.domain.events.position import Position

# Events that one page with a filter by type reads at most. A caller can have any number of events that the filter drops.
EXAMINED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to read.

    Attributes:
        after: the seq after which to begin; 0 for the oldest.
        until: last seq to look at; None for the head.
        subject: only events about this user; None for all.
        types: only these; None for all. Then a page reads at most `EXAMINED_MAX` events, whether they match or not.
    """

    after: int
    limit: int
    until: int | None = None
    subject: UUID | None = None
    types: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order.

    Attributes:
        seen: the seq up to which the log was looked at: where to go on, also when nothing matched.
        first: the lowest seq that the log still holds; head + 1 when it is empty.
        position: of the head.
    """

    events: Sequence[Event]
    seen: int
    first: int
    position: Position
