"""The rows of users, and the statements about them."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, or_, select, true, tuple_, union, update

from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.store.sql.builders import fixed, upsert
from service.store.sql.dialects import Dialect, LockingSelect, Statement
from service.store.sql.row_mapper import Row, RowMapper
from service.store.sql.second_factors import SECOND_FACTOR, read_second_factor
from service.store.sql.tables import log, users

USER: Final = RowMapper(User, users)
CREDENTIALS: Final = [*USER.columns, users.c.password_hash, *SECOND_FACTOR.columns]
_PASSWORD: Final = len(USER.columns)


def read_credentials(row: Row, dialect: Dialect) -> Credentials:
    """From the columns of `CREDENTIALS`."""
    factor = read_second_factor(row, dialect, _PASSWORD + 1)
    return Credentials(USER.from_row(row, dialect), row[_PASSWORD], factor)


def user_row(user: User) -> dict[str, Any]:
    return USER.to_row(user) | {"search_text": search_text(user)}


def search_text(user: User) -> str:
    """The text in which a search looks. Line breaks keep a match inside one value, because no value contains one."""
    return f"{user.username}\n{user.email.casefold()}\n{user.name.casefold()}"


def _user_by(*conditions: Any) -> Select[Any]:
    return select(*CREDENTIALS).where(*conditions)


USER_WITH_POSITION: Final = fixed(
    select(log.c.epoch, log.c.seq, *USER.columns).select_from(log.outerjoin(users, users.c.id == bindparam("id")))
)
LOCK_USER: Final = LockingSelect(lambda _: _user_by(users.c.id == bindparam("id")), finds_one=True)
LOCK_USER_ID: Final = LockingSelect(lambda _: select(users.c.id).where(users.c.id == bindparam("id")), finds_one=True)
USER_BY_LOGIN: Final = fixed(
    # An address before a name: a name has no @, so at most one of the two is there.
    _user_by(or_(users.c.email == bindparam("login"), users.c.username == bindparam("login")))
)
OTHERS_WITH_NAMES: Final = fixed(
    select(users.c.username, users.c.email).where(
        or_(users.c.username == bindparam("username"), users.c.email == bindparam("email")),
        users.c.id != bindparam("id"),
    )
)


def _users_by_identity(dialect: Dialect) -> Any:
    # Three looks into an index. Of one `OR` PostgreSQL's plan for any values, made while users were few, was a walk through
    # all of them with five hundred comparisons each: ten seconds for the lines that take one.
    named = {"ids": users.c.id, "usernames": users.c.username, "emails": users.c.email}
    found = union(*(select(users.c.id).where(dialect.is_any_of(column, name)) for name, column in named.items()))
    return _user_by(users.c.id.in_(found))


LOCK_USERS_BY_IDENTITY: Final = LockingSelect(_users_by_identity)
# Two transactions that each leave one administrator would leave none.
LOCK_ACTIVE_ADMINS: Final = LockingSelect(
    lambda _: select(users.c.id).where(users.c.role == "admin", users.c.active.is_(True))
)
SAVE_USER: Final = upsert(users, "password_hash", *(column.name for column in SECOND_FACTOR.columns))
SET_PASSWORD: Final = fixed(
    update(users).where(users.c.id == bindparam("user")).values(password_hash=bindparam("hash"))
)
SET_VERSION: Final = fixed(update(users).where(users.c.id == bindparam("user")).values(version=bindparam("seq")))
ALL_USERS: Final = fixed(select(*USER.columns))
DELETE_USER: Final = fixed(delete(users).where(users.c.id == bindparam("id")))


def list_users(sort: str, *, after: bool, q: bool, role: bool, active: bool) -> Statement:
    """A page of users: `sort` as in `UserQuery`, the rest whether it is asked for."""

    def build(dialect: Dialect) -> Any:
        return _users_page(dialect, sort, after=after, q=q, role=role, active=active)

    return Statement(build)


def _users_page(dialect: Dialect, sort: str, *, after: bool, q: bool, role: bool, active: bool) -> Select[Any]:
    column = users.c[sort.removeprefix("-")]
    turned = sort.startswith("-")
    key = (column, users.c.id)
    after_key, after_id = bindparam("after_key", type_=column.type), bindparam("after_id", type_=users.c.id.type)
    conditions = []
    if after:
        # As rows: an index is entered at the very place, also among many who were made at the same moment.
        here, there = tuple_(*key), tuple_(after_key, after_id)
        conditions.append(here < there if turned else here > there)
    if q:
        conditions.append(
            dialect.find_substring(users.c.search_text, bindparam("q", type_=users.c.search_text.type)) > 0
        )
    if role:
        conditions.append(users.c.role == bindparam("role"))
    if active:
        conditions.append(users.c.active == bindparam("active"))
    order = [one.desc() if turned else one.asc() for one in key]
    page = select(*USER.columns).where(*conditions).order_by(*order).limit(bindparam("limit")).subquery()
    # With the position of the log, in one statement: one statement sees one state.
    return (
        select(log.c.epoch, log.c.seq, *page.c)
        .select_from(log.outerjoin(page, true()))
        .order_by(*(page.c[one.name].desc() if turned else page.c[one.name] for one in key))
    )


_page = functools.cache(list_users)


def select_page(query: UserQuery) -> tuple[Statement, dict[str, Any]]:
    statement = _page(
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
