"""Events of the log and entries of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roster_client.models.decode import Model
from roster_client.models.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Model):
    """A committed change.

    Attributes:
        id: the position of the event.
        user: the account after the change; None for deletions and endings, and for a user that was deleted since.
    """

    id: str
    type: str
    time: datetime
    actor: str | None
    subject: str
    user: User | None
    changed: tuple[str, ...] | None = None
    session_id: str | None = None
    token_id: str | None = None
    reason: str | None = None

    @property
    def seq(self) -> int:
        """The number of the event. An event changes a user that the reader holds if it is above `version`."""
        return int(self.id.rpartition("-")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Model):
    """An entry of the audit trail."""

    id: int
    at: datetime
    action: str
    actor: str | None
    subject: str | None
    client: str | None
    request_id: str | None
    session_id: str | None
    token_id: str | None
    component: str | None
    details: Mapping[str, Any]
