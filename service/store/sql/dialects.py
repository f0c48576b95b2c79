"""From statements to the text and the values that a database takes, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ClauseElement,
    ColumnElement,
    DateTime,
    Select,
    String,
    Table,
    Text,
    Update,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    select,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect as SqlDialect
from sqlalchemy.sql.compiler import SQLCompiler

Build = Callable[["Dialect"], ClauseElement]

# How long PostgreSQL waits for a lock. It ends before a caller gives up, and after the second in which PostgreSQL looks for a
# deadlock.
LOCK_MS: Final = 1_200


class Compiled(NamedTuple):
    """SQL with a placeholder a parameter, the names of the parameters in their order, and values that are its own."""

    text: str
    names: tuple[str, ...]
    own: Mapping[str, Any]


class Statement:
    """A statement, compiled once for each dialect.

    SQLAlchemy writes it and has no part in running it: executing through its connections costs three times what SQLite
    takes for a row.
    """

    __slots__ = ("_build", "_compiled", "in_columns")

    def __init__(self, build: Build, *, in_columns: bool = False) -> None:
        """`in_columns`: PostgreSQL takes one list of values for each parameter, and runs one statement for all rows."""
        self._build = build
        self.in_columns = in_columns
        self._compiled: dict[Dialect, Compiled] = {}

    def compiled(self, dialect: Dialect) -> Compiled:
        found = self._compiled.get(dialect)
        if found is None:
            made = cast(SQLCompiler, self._build(dialect).compile(dialect=dialect.sql))
            own = {name: value for name, value in made.params.items() if value is not None}
            found = self._compiled[dialect] = Compiled(str(made), tuple(made.positiontup or ()), own)
        return found


class LockingSelect:
    """A SELECT of rows that are about to be changed, in three forms.

    Attributes:
        plain: without locks.
        waiting: with locks, for which it waits.
        skipping: with locks, without the rows that others have locked.
        finds_one: whether it finds one row at most.
    """

    __slots__ = ("finds_one", "plain", "skipping", "waiting")

    def __init__(self, build: Callable[[Dialect], Select[Any]], *, finds_one: bool = False) -> None:
        # Not the lock of a deletion: rows that refer to these may be inserted meanwhile.
        self.plain = Statement(build)
        self.waiting = Statement(lambda dialect: build(dialect).with_for_update(key_share=True))
        self.skipping = Statement(lambda dialect: build(dialect).with_for_update(key_share=True, skip_locked=True))
        self.finds_one = finds_one


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How one database is spoken to.

    Attributes:
        to_sql: by type, how a value goes in; others go as they are.
        from_sql: by type of a column, how a value comes out; others come as they are.
        moment, identity: how a moment and an id come out.
        insert: its own INSERT, which can say what to do when the row is there.
        find_substring: its own function for where a text is in another; 0 for nowhere.
        is_any_of: its own way to say that a column has one of the values in a parameter, which is a list.
        insert_rows: its own way to insert many rows of a table.
        with_patience: an UPDATE whose transaction waits for locks as long as a write may take, from this statement on.
        locks_rows: whether there are other writers, against whom rows are locked.
    """

    sql: SqlDialect
    to_sql: Mapping[type, Callable[[Any], Any]]
    from_sql: Mapping[type, Callable[[Any], Any]]
    moment: Callable[[Any], datetime]
    identity: Callable[[Any], UUID]
    insert: Callable[..., Any]
    find_substring: Callable[..., Any]
    is_any_of: Callable[[ColumnElement[Any], str], ColumnElement[bool]]
    insert_rows: Callable[[Table], ClauseElement]
    with_patience: Callable[[Update], Update]
    locks_rows: bool

    def to_sql_value(self, value: Any) -> Any:
        """One value as the database returns it."""
        convert = self.to_sql.get(type(value))
        return value if convert is None else convert(value)

    def values(self, statement: Compiled, given: Mapping[str, Any]) -> list[Any]:
        """Parameters in the order in which the statement names them."""
        own, to_sql = statement.own, self.to_sql
        found = [given[name] if name in given else own[name] for name in statement.names]
        if to_sql:
            for place, value in enumerate(found):
                convert = to_sql.get(type(value))
                if convert is not None:
                    found[place] = convert(value)
        return found


@lru_cache(256)  # many rows of one write say the same one
def _text_of(moment: datetime) -> str:
    # UTC and always with microseconds: texts sort as moments do.
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@lru_cache(4096)  # a new user's stands in eight places, who makes it in three, and each takes 1.7 µs
def _text_of_id(identity: UUID) -> str:
    return str(identity)


def _among_json(one: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return one.in_(select(column("value")).select_from(func.json_each(bindparam(name))))


def _among_array(one: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return one.in_(select(func.unnest(bindparam(name, type_=postgresql.ARRAY(one.type)))))


def _insert_each(table: Table) -> ClauseElement:
    return insert(table)


def _insert_columns(table: Table) -> ClauseElement:
    # A cast to VARCHAR(n) would cut off what is too long, where an insert refuses it.
    types = {one.name: Text() if isinstance(one.type, String) else one.type for one in table.columns}
    columns = [func.unnest(cast_to(bindparam(name), postgresql.ARRAY(type_))) for name, type_ in types.items()]
    return insert(table).from_select(list(types), select(*columns))


def _with_lock_timeout(statement: Update) -> Update:
    # PostgreSQL evaluates what an UPDATE joins before it locks the row.
    patience = select(func.set_config("lock_timeout", str(LOCK_MS), True).label("set")).cte("patience")
    return statement.where(patience.c["set"].is_not(None))


def _same(value: Any) -> Any:
    return value


SQLITE: Final = Dialect(
    sqlite.dialect(paramstyle="qmark"),
    {UUID: _text_of_id, datetime: _text_of, bool: int, list: partial(json.dumps, default=str)},
    {Uuid: UUID, DateTime: datetime.fromisoformat, Boolean: bool},
    datetime.fromisoformat,
    UUID,
    sqlite.insert,
    func.instr,
    _among_json,
    _insert_each,
    _same,
    locks_rows=False,
)
POSTGRES: Final = Dialect(
    postgresql.dialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]  # SQLAlchemy types it in part
    {},
    {},
    _same,
    _same,
    postgresql.insert,
    func.strpos,
    _among_array,
    _insert_columns,
    _with_lock_timeout,
    locks_rows=True,
)
