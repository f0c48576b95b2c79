"""The audit: who did what to whom, from where. Kept with the change itself, and never changed afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from service.domain.auth.sessions import CLIENT_MAX
from service.domain.events.event import Event, EventType
from service.domain.users.user import User

Recorded = Literal[
    "session.started",
    "login.failed",
    "password.changed",
    "password.reset",
    "password_reset.requested",
    "registration.repeated",
    "email_change.requested",
    "second_factor.started",
    "second_factor.confirmed",
    "second_factor.removed",
    "recovery_codes.renewed",
    "recovery_code.used",
    "token.created",
    "import.started",
    "import.written",
    "import.ended",
    "users.exported",
    "audit.exported",
    "keys.rotated",
    "data.replaced",
    "epoch.started",
]
"""Audit actions that are not event types. Each event type is an action as well."""

Action = Literal[EventType, Recorded]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

Component = Literal["start", "maintenance", "mail", "command"]
"""The source of changes that no request asked for: start-up, maintenance, mail and the command line."""

Details = Mapping[str, Any]
"""A few things that JSON can say: names of fields, reasons, counts, ids; never an address, a password, a token or a hash."""

REQUEST_ID_MAX: Final = 64
KEEP_AUDIT_S: Final = 31_536_000  # a year; intrusions are often discovered months later

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


# Of these two every write makes one each: frozen dataclasses take three times as long.
class AuditSource(NamedTuple):
    """By what way a change comes in; every write says it.

    Attributes:
        client: address of the client, or its network; None without a client.
        request_id: what the answer and the log lines of the request are named by.
        session_id: the login that the request came with; None for none.
        token_id: the API token that it came with instead.
        component: of the service itself, where no request caused the change.
    """

    client: str | None = None
    request_id: str | None = None
    session_id: UUID | None = None
    token_id: UUID | None = None
    component: Component | None = None

    @classmethod
    def request(cls, client: str, request_id: str, credential: UUID | None, *, is_token: bool) -> AuditSource:
        """The source of a request; `credential` is the id of its session or of its API token."""
        return cls(
            client[:CLIENT_MAX],
            request_id[:REQUEST_ID_MAX],
            None if is_token else credential,
            credential if is_token else None,
        )


START: Final = AuditSource(component="start")
MAINTENANCE: Final = AuditSource(component="maintenance")
MAIL: Final = AuditSource(component="mail")
COMMAND: Final = AuditSource(component="command")


class AuditEntry(NamedTuple):
    """One thing that was done.

    Attributes:
        actor: the user who did it; None for the service itself, and for a client without valid credentials.
        subject: the user to whom it was done; None where it was not to one.
        details: None for none.
        sequence: the microsecond since 1970 at which it was committed, or the next one that is free; 0 until then. Sequences are
            unique and in the order of commits. A span of time is a span of sequences, so one key gives the order, the
            cursors of pages and both bounds of time.
    """

    action: Action
    actor: UUID | None
    subject: UUID | None
    by: AuditSource
    details: Details | None = None
    sequence: int = 0

    @property
    def at(self) -> datetime:
        """When. It never goes back: where the clock does, entries follow one another until it has caught up."""
        return _EPOCH + timedelta(microseconds=self.sequence)

    def with_sequence(self, sequence: int) -> AuditEntry:
        """The same entry, as it is committed."""
        return AuditEntry(self.action, self.actor, self.subject, self.by, self.details, sequence)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries to read, the newest first.

    Attributes:
        before: sequence of the last entry of the page before; None for the first page.
        since, until: bounds of time, the first included, the second not; None for none.
        actor, subject, action: only those with it; None for all.
    """

    limit: int
    before: int | None = None
    actor: UUID | None = None
    subject: UUID | None = None
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def first(self) -> int | None:
        """The lowest sequence on the page; None for the oldest."""
        return None if self.since is None else sequence_at(self.since)

    @property
    def end(self) -> int | None:
        """Only entries with a lower sequence are read; None for all."""
        bounds = [self.before, None if self.until is None else sequence_at(self.until)]
        return min((bound for bound in bounds if bound is not None), default=None)


def sequence_at(moment: datetime) -> int:
    """The sequence of an entry that is committed at that moment."""
    return (moment - _EPOCH) // _MICROSECOND


def create_entry(event: Event, by: AuditSource, more: Details | None = None) -> AuditEntry:
    """The audit details of an event: its data without the user, and `more`."""
    details = _details(event)
    return AuditEntry(
        event.type, event.actor, event.subject, by, {**details, **more} if details and more else details or more or None
    )


def create_import_entry(events: Sequence[Event], by: AuditSource) -> AuditEntry:
    """The details of several events of one actor in one entry: the number of each type, and the first and last seq."""
    counts: Counter[str] = Counter(event.type for event in events)
    return AuditEntry(
        "import.written", events[0].actor, None, by, {**counts, "first": events[0].seq, "last": events[-1].seq}
    )


def _details(event: Event) -> Details | None:
    if event.changed:
        return {"changed": list(event.changed)}
    if event.session_id is not None:
        return {"session_id": str(event.session_id), "reason": event.reason}
    if event.token_id is not None:
        return {"token_id": str(event.token_id), "reason": event.reason}
    # What nearly everybody is says nothing.
    if event.user is not None and event.user.role != "member":
        return {"role": event.user.role}
    return None


def rights_changed(before: User, after: User) -> Details:
    """`role` and `active` as they were and as they are, where a change of a user changed them."""
    names = ("role", "active")
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in names
        if getattr(before, name) != getattr(after, name)
    }
