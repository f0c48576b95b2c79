"""How a write of the memory store changes a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from service.store.memory.tables import Tables

K = TypeVar("K")
V = TypeVar("V")


class MemoryRows:
    """The tables, and how to take each step back."""

    _tables: Tables
    _undo: list[Callable[[], object]]

    def _set(self, table: dict[K, V], key: K, value: V | None) -> None:
        before = table.get(key)
        _put(table, key, value)
        self._undo.append(lambda: _put(table, key, before))


def _put(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
