"""Queries of the list of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from service.domain.users.user import Role

Sort = Literal["created_at", "-created_at", "username", "-username"]


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which users to list.

    Attributes:
        after: where the page before ended, `(sort key, id)`; None for the first page.
        q: part of the username, e-mail address or name, whatever its case; None for all.
    """

    limit: int
    sort: Sort = "created_at"
    after: tuple[str, UUID] | None = None
    q: str | None = None
    role: Role | None = None
    active: bool | None = None

    @property
    def has_filter(self) -> bool:
        """Whether some users do not match, so that finding a page may take a walk through all of them."""
        return self.q is not None or self.role is not None or self.active is not None
