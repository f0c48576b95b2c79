"""A fact that was committed: what the log is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from service.domain.users.user import User

EventType = Literal["user.created", "user.updated", "user.deleted", "session.ended", "token.ended"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)

EndReason = Literal[
    "logout", "reuse", "password", "role", "deactivated", "deleted", "limit", "revoked", "second_factor"
]


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change.

    Attributes:
        type: what happened.
        time: when, in UTC; says nothing about order, `seq` does.
        actor: who did it; None when the service itself did.
        subject: the user whom it is about.
        user: that user as this event left it; None for the other types, and after the user was deleted.
        changed: for `user.updated`, the fields that differ from the event before.
        session_id: for `session.ended`, which one.
        reason: for `session.ended` and `token.ended`, why.
        seq: place in the log, from 1; 0 until committed.
        token_id: for `token.ended`, which API token.
    """

    type: EventType
    time: datetime
    actor: UUID | None
    subject: UUID
    user: User | None = None
    changed: tuple[str, ...] = ()
    session_id: UUID | None = None
    reason: EndReason | None = None
    seq: int = 0
    token_id: UUID | None = None

    def at(self, seq: int) -> Event:
        """The same event, committed at that seq: it is also the version of the user it carries."""
        # replace() takes 5 µs for both.
        return Event(
            self.type,
            self.time,
            self.actor,
            self.subject,
            self.user and self.user.at(seq),
            self.changed,
            self.session_id,
            self.reason,
            seq,
            self.token_id,
        )

    def redacted(self) -> Event:
        """The event without the data of its user, for the log after the user was deleted."""
        return replace(self, user=None)

    @property
    def ends_access(self) -> bool:
        """Whether tokens of the subject that were valid before may not be any more."""
        return self.type in ("session.ended", "token.ended", "user.deleted") or (
            self.type == "user.updated" and not {"role", "active"}.isdisjoint(self.changed)
        )
