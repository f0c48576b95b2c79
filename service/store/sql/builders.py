"""Builders of statements that several groups use."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, delete, select, tuple_

from service.store.sql.dialects import Dialect, Statement


def fixed(statement: Any) -> Statement:
    return Statement(lambda _: statement)


def delete_expired(table: Table) -> Statement:
    """Delete the rows that have expired, but for those that another transaction has locked."""
    keys = list(table.primary_key)
    expired = select(*keys).where(table.c.expires_at <= bindparam("now")).with_for_update(skip_locked=True)
    return fixed(delete(table).where(tuple_(*keys).in_(expired)))


def upsert(table: Table, *kept: str) -> Statement:
    """Insert a row, or replace what it says where its key is there already, but for the columns that are `kept`."""
    keys = list(table.primary_key.columns)
    named = [column.name for column in table.columns if column.name not in kept]

    def build(dialect: Dialect) -> Any:
        row = dialect.insert(table).values({name: bindparam(name) for name in named})
        changed = {name: row.excluded[name] for name in named if name not in table.primary_key.columns}
        return row.on_conflict_do_update(index_elements=keys, set_=changed)

    return Statement(build)


def insert_rows(table: Table) -> Statement:
    return Statement(lambda dialect: dialect.insert_rows(table), in_columns=True)
