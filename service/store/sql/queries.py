"""Questions of the ports as statements with their values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from service.domain.audit import AuditQuery
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventPage, EventQuery
from service.domain.users.query import UserQuery
from service.store.sql import rows, statements
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.row_mapper import Row

_EVENT: Final = 3  # place of its first column in a row of the log
_SEQ: Final = _EVENT + rows.EVENT.index("seq")
_USER: Final = _EVENT + rows.EVENT.index("user")
_TIME: Final = _EVENT + rows.EVENT.index("time")

_users = functools.cache(statements.list_users)
_events = functools.cache(statements.list_events)
_entries = functools.cache(statements.list_entries)


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


def events(query: EventQuery) -> tuple[Statement, dict[str, Any]]:
    """One more than asked for: it tells whether the page goes to the end."""
    types = sorted(query.types or ())
    statement = _events(
        until=query.until is not None,
        subject=query.subject is not None,
        types=None if query.types is None else len(types),
    )
    given = {"after": query.after, "until": query.until, "subject": query.subject, "limit": query.limit + 1}
    return statement, given | {f"type{number}": name for number, name in enumerate(types)}


def audit(query: AuditQuery) -> tuple[Statement, dict[str, Any]]:
    given = {
        "actor": query.actor,
        "subject": query.subject,
        "action": query.action,
        "first": query.first,
        "end": query.end,
    }
    statement = _entries(**{name: value is not None for name, value in given.items()})
    return statement, given | {"limit": query.limit}


def page(
    query: EventQuery, found: Sequence[Row], dialect: Dialect, written: Mapping[tuple[str, int], Event]
) -> EventPage:
    """The answer, from the row of the log with each event, of which there is one more than asked for.

    `written`: events that are in memory, by epoch and seq; redacted ones are read again.
    """
    epoch, head, first = found[0][:3]
    examined_to = found[0][-1]
    seen = head if query.until is None else min(query.until, head)
    if examined_to is not None:
        seen = min(seen, examined_to)
    events = []
    for row in found[: query.limit]:
        if row[_SEQ] is not None:
            known = written.get((epoch, row[_SEQ]))
            # Another process may have assigned this seq again, on a server that lacks the commits of the one before it.
            if (
                known is None
                or (known.user is None) != (row[_USER] is None)
                or dialect.to_sql_value(known.time) != row[_TIME]
            ):
                known = rows.EVENT.from_row(row, dialect, _EVENT)
            events.append(known)
    if len(found) > query.limit:
        seen = events[-1].seq if events else query.after
    return EventPage(events, max(seen, query.after), first, Position(epoch, head))
