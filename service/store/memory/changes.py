"""How a write of the memory store changes rows, and takes the changes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from service.store.memory.tables import Tables

K = TypeVar("K")
V = TypeVar("V")


class Changes:
    """The tables, changed at once, and how to undo each step."""

    __slots__ = ("_steps", "tables")

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._steps: list[Callable[[], object]] = []

    def set(self, table: dict[K, V], key: K, value: V | None) -> None:
        """Set a row; None removes it."""
        before = table.get(key)
        _set(table, key, value)
        self._steps.append(lambda: _set(table, key, before))

    def on_undo(self, step: Callable[[], object]) -> None:
        """Have `step` take back what was just changed."""
        self._steps.append(step)

    def undo(self) -> None:
        """Take back all changes, the last one first."""
        while self._steps:
            self._steps.pop()()


def _set(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
