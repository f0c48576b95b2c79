"""Rows of the memory store that belong to users."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID


class Owned(Protocol):
    @property
    def id(self) -> UUID: ...

    @property
    def user_id(self) -> UUID: ...

    @property
    def created_at(self) -> datetime: ...


R = TypeVar("R", bound=Owned)


class OwnedRows(Generic[R]):
    """Rows by their ids and by their users, in the order in which they were last put."""

    def __init__(self) -> None:
        self._rows: dict[UUID, R] = {}
        self._of: dict[UUID, set[UUID]] = {}

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows.values())

    def get(self, row_id: UUID) -> R | None:
        return self._rows.get(row_id)

    def of(self, user_id: UUID) -> list[R]:
        """A user's rows, the oldest first."""
        rows = (self._rows[row_id] for row_id in self._of.get(user_id, ()))
        return sorted(rows, key=lambda row: (row.created_at, row.id))

    def put(self, row: R) -> None:
        self._rows.pop(row.id, None)  # to the end
        self._rows[row.id] = row
        self._of.setdefault(row.user_id, set()).add(row.id)

    def drop(self, row_id: UUID) -> R | None:
        row = self._rows.pop(row_id, None)
        if row is not None:
            of_user = self._of[row.user_id]
            of_user.discard(row_id)
            if not of_user:
                del self._of[row.user_id]
        return row
