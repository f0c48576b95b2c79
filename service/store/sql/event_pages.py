"""The rows of events, and pages of the log."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import bindparam, case, false, func, literal_column, null, or_, select, true

from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EXAMINED_MAX, EventPage, EventQuery
from service.domain.users.user import User
from service.store.sql.builders import fixed
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.row_mapper import Codec, Row, RowMapper
from service.store.sql.tables import events, log

_USER_JSON: Final = TypeAdapter(User)


def _encode_user(user: User | None) -> str | None:
    return None if user is None else _USER_JSON.dump_json(user).decode()


def _decode_user(text: str | None) -> User | None:
    return None if text is None else _USER_JSON.validate_json(text)


EVENT: Final = RowMapper(
    Event,
    events,
    codecs={
        "user": Codec(_encode_user, _decode_user),
        "changed": Codec(",".join, lambda text: tuple(text.split(",")) if text else ()),
    },
)

_EVENT: Final = 3  # place of its first column in a row of the log
_SEQ: Final = _EVENT + EVENT.index("seq")
_USER: Final = _EVENT + EVENT.index("user")
_TIME: Final = _EVENT + EVENT.index("time")


def list_events(*, until: bool, subject: bool, types: int | None) -> Statement:
    """Events after a seq, with the row of the log: `types` is how many are asked for, None for all.

    With types, at most `EXAMINED_MAX` events are read; the last column is the seq of the last one where there may be more,
    else null.
    """
    conditions = [events.c.seq > bindparam("after")]
    if until:
        conditions.append(events.c.seq <= bindparam("until"))
    if subject:
        conditions.append(events.c.subject == bindparam("subject"))
    found = select(*EVENT.columns).where(*conditions).order_by(events.c.seq)
    end: Any = null()
    if types is not None:
        examined = found.limit(literal_column(str(EXAMINED_MAX))).cte("examined")
        end = (
            select(case((func.count() == EXAMINED_MAX, func.max(examined.c.seq))))
            .select_from(examined)
            .scalar_subquery()
        )
        wanted = or_(false(), *(examined.c.type == bindparam(f"type{number}") for number in range(types)))
        found = select(*examined.c).where(wanted).order_by(examined.c.seq)
    page = found.limit(bindparam("limit")).subquery()
    return fixed(
        select(log.c.epoch, log.c.seq, log.c.first, *page.c, end)
        .select_from(log.outerjoin(page, true()))
        .order_by(page.c.seq)
    )


_page = functools.cache(list_events)


def select_page(query: EventQuery) -> tuple[Statement, dict[str, Any]]:
    """The statement of a page and its values. It reads one event more than the limit, to see whether more follow."""
    types = sorted(query.types or ())
    statement = _page(
        until=query.until is not None,
        subject=query.subject is not None,
        types=None if query.types is None else len(types),
    )
    given = {"after": query.after, "until": query.until, "subject": query.subject, "limit": query.limit + 1}
    return statement, given | {f"type{number}": name for number, name in enumerate(types)}


def read_page(
    query: EventQuery, found: Sequence[Row], dialect: Dialect, written: Mapping[tuple[str, int], Event]
) -> EventPage:
    """Build a page from rows of the log and its events, of which there is one more than the limit.

    `written`: events that are in memory, by epoch and seq; redacted ones are read again.
    """
    epoch, head, first = found[0][:3]
    examined_to = found[0][-1]
    seen = head if query.until is None else min(query.until, head)
    if examined_to is not None:
        seen = min(seen, examined_to)
    listed = []
    for row in found[: query.limit]:
        if row[_SEQ] is not None:
            known = written.get((epoch, row[_SEQ]))
            # Another process may have assigned this seq again, on a server that lacks the commits of the one before it.
            if (
                known is None
                or (known.user is None) != (row[_USER] is None)
                or dialect.to_sql_value(known.time) != row[_TIME]
            ):
                known = EVENT.from_row(row, dialect, _EVENT)
            listed.append(known)
    if len(found) > query.limit:
        seen = listed[-1].seq if listed else query.after
    return EventPage(listed, max(seen, query.after), first, Position(epoch, head))
