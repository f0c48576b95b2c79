"""Rows between what a database holds and Python's own values, by the types of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Boolean, Column, DateTime, Table, Uuid

from service.store.sql.dialects import Dialect
from service.store.sql.row_mapper import Row

_PYTHON: Final = ((Uuid, UUID), (DateTime, datetime), (Boolean, bool))

Convert = Callable[[Iterable[Row]], list[Row]]


def from_sql(table: Table, dialect: Dialect) -> Convert:
    return _converter(table, {UUID: dialect.identity, datetime: dialect.moment, bool: bool})


def to_sql(table: Table, dialect: Dialect) -> Convert:
    return _converter(table, dialect.to_sql)


def _converter(table: Table, how: Mapping[type, Callable[[Any], Any]]) -> Convert:
    kinds = [_kind(column) for column in table.columns]
    steps = [(place, how[kind]) for place, kind in enumerate(kinds) if kind is not None and kind in how]

    def convert(found: Iterable[Row]) -> list[Row]:
        return [_row(row) for row in found]

    def _row(row: Row) -> Row:
        values = list(row)
        for place, step in steps:
            if values[place] is not None:
                values[place] = step(values[place])
        return values

    return convert


def _kind(column: Column[Any]) -> type | None:
    return next((python for sql, python in _PYTHON if isinstance(column.type, sql)), None)
