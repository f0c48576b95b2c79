"""What of users and of the log somebody wants to read, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.users.user import Role

# Events that one page with a filter by type reads at most. A caller can have any number of events that the filter drops.
EXAMINED_MAX: Final = 1_000

Sort = Literal["created_at", "-created_at", "username", "-username"]


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users to list.

    Attributes:
        after: where the page before ended, `(sort key, id)`; None for the first page.
        q: part of the username, e-mail address or name, whatever its case; None for all.
    """

    limit: int
    sort: Sort = "created_at"
    after: tuple[str, UUID] | None = None
    q: str | None = None
    role: Role | None = None
    active: bool | None = None

    @property
    def has_filter(self) -> bool:
        """Whether some users do not match, so that finding a page may take a walk through all of them."""
        return self.q is not None or self.role is not None or self.active is not None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to read.

    Attributes:
        after: seq behind which to begin; 0 for the oldest.
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
