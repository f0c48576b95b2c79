"""Questions of the ports as statements with their values."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from service.domain.events import Event
from service.domain.ports import EventPage, EventQuery, UserQuery
from service.domain.positions import Position
from service.store.sql import statements
from service.store.sql.dialects import Statement

_users = functools.cache(statements.list_users)
_events = functools.cache(statements.list_events)


def users(query: UserQuery) -> tuple[Statement, dict[str, Any]]:
    statement = _users(
        query.sort,
        after=query.after is not None,
        q=query.q is not None,
        role=query.role is not None,
        active=query.active is not None,
    )
    given: dict[str, Any] = {"limit": query.limit}
    if query.after is not None:
        key, user_id = query.after
        is_moment = query.sort.removeprefix("-") == "created_at"
        given |= {"after_key": datetime.fromisoformat(key) if is_moment else key, "after_id": user_id}
    if query.q is not None:
        given["q"] = query.q.casefold()
    return statement, given | {"role": query.role, "active": query.active}


def events(query: EventQuery, head: int) -> tuple[Statement, dict[str, Any]]:
    """One more than asked for: it tells whether the page goes to the end."""
    types = sorted(query.types or ())
    statement = _events(subject=query.subject is not None, types=None if query.types is None else len(types))
    given = {"after": query.after, "until": _until(query, head), "subject": query.subject, "limit": query.limit + 1}
    return statement, given | {f"type{number}": name for number, name in enumerate(types)}


def page(query: EventQuery, log: Sequence[Any], found: list[Event]) -> EventPage:
    """The answer, from the row of the log and one event more than asked for."""
    epoch, head, first = log
    seen = _until(query, head)
    if len(found) > query.limit:
        found = found[: query.limit]
        seen = found[-1].seq if found else query.after
    return EventPage(found, max(seen, query.after), first, Position(epoch, head))


def _until(query: EventQuery, head: int) -> int:
    return head if query.until is None else min(query.until, head)
