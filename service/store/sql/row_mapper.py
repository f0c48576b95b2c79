"""Rows of a table as values of the domain, mapped by the names of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Column, Table

from service.store.sql.dialects import Dialect

Row = Sequence[Any]
T = TypeVar("T")


class Codec(NamedTuple):
    """How a column keeps what is no value of a database; both functions are called for null, too."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_Step = tuple[int, Callable[[Any], Any]]


class _Steps(NamedTuple):
    """How the values of one database are converted, by their places."""

    always: list[_Step]
    unless_null: list[_Step]
    is_plain: bool


class RowMapper(Generic[T]):
    """Maps the fields of a class to the columns of a table, in both directions.

    A statement selects `columns`, in their order. So the fields of the class define what is read, and no position is
    written down.

    Args:
        make: the class; each of its fields is the column of the same name.
        renamed: columns of fields that have another name.
        nested: classes of fields that are objects; the fields of those are columns of the same names.
        codecs: by column, how it is encoded.

    Raises KeyError when the table lacks a column.
    """

    def __init__(
        self,
        make: Callable[..., T],
        table: Table,
        *,
        renamed: Mapping[str, str] | None = None,
        nested: Mapping[str, Callable[..., Any]] | None = None,
        codecs: Mapping[str, Codec] | None = None,
    ) -> None:
        self._make = make
        self._nested: list[tuple[int, int, Callable[..., Any]]] = []
        paths: dict[str, str] = {}
        for place, field in enumerate(signature(make).parameters):
            if nested and field in nested:
                inner = list(signature(nested[field]).parameters)
                self._nested.append((place, place + len(inner), nested[field]))
                paths |= {name: f"{field}.{name}" for name in inner}
            else:
                paths[(renamed or {}).get(field, field)] = field
        self.columns: list[Column[Any]] = [table.c[name] for name in paths]
        self._names = tuple(paths)
        self._count = len(paths)
        self._get = attrgetter(*paths.values())
        self._encoders = [(name, codec.encode) for name, codec in (codecs or {}).items()]
        self._decoders: list[_Step] = [
            (self._names.index(name), codec.decode) for name, codec in (codecs or {}).items()
        ]
        self._steps: dict[Dialect, _Steps] = {}

    def from_row(self, row: Row, dialect: Dialect, start: int = 0) -> T:
        """The value in a row whose values of `columns` begin at `start`."""
        steps = self._steps.get(dialect)
        if steps is None:
            steps = self._steps[dialect] = self._find_steps(dialect)
        if steps.is_plain:
            return self._make(*row[start : start + self._count])
        values = list(row[start : start + self._count])
        for place, convert in steps.always:
            values[place] = convert(values[place])
        for place, convert in steps.unless_null:
            if values[place] is not None:
                values[place] = convert(values[place])
        for first, end, make in self._nested:
            values[first:end] = (make(*values[first:end]),)
        return self._make(*values)

    def to_row(self, value: T) -> dict[str, Any]:
        """The values of all columns, by name."""
        row = dict(zip(self._names, self._get(value), strict=True))
        for name, encode in self._encoders:
            row[name] = encode(row[name])
        return row

    def index(self, name: str) -> int:
        """Where the column of this name is among `columns`."""
        return self._names.index(name)

    def _find_steps(self, dialect: Dialect) -> _Steps:
        always = list(self._decoders)
        unless_null: list[_Step] = []
        for place, column in enumerate(self.columns):
            convert = dialect.from_sql.get(type(column.type))
            if convert is not None:
                (unless_null if column.nullable else always).append((place, convert))
        return _Steps(always, unless_null, is_plain=not (always or unless_null or self._nested))


def new_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an UPDATE, whose parameters may not have the names of its columns."""
    return {f"new_{name}": value for name, value in row.items()}
