"""Facts that were committed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import uuid_utils.compat

from service.domain.events.event import EVENT_TYPES, Event
from tests.support.domain import a_user, created, updated

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def test_committed_event_gives_its_user_the_version() -> None:
    """The seq of an event is the version of the user that it carries."""
    event = created(a_user()).at(42)

    assert event.seq == 42
    assert event.user is not None
    assert event.user.version == 42


def test_committed_event_may_carry_no_user() -> None:
    """An event without a user gets its seq as well."""
    assert Event("user.deleted", NOW, None, a_user().id).at(42).user is None


def test_redacted_event_tells_no_more_about_the_user() -> None:
    """A redacted event keeps id, type, time, actor and subject, and the names of changed fields."""
    event = updated(a_user(name="Ada"), "name").at(42)
    left = event.redacted()

    assert left.user is None
    assert (left.seq, left.type, left.time, left.actor, left.subject, left.changed) == (
        event.seq,
        event.type,
        event.time,
        event.actor,
        event.subject,
        ("name",),
    )


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"type": "session.ended"}, True),
        ({"type": "token.ended"}, True),
        ({"type": "user.deleted"}, True),
        ({"type": "user.updated", "changed": ("role",)}, True),
        ({"type": "user.updated", "changed": ("name", "active")}, True),
        ({"type": "user.updated", "changed": ("username", "email", "name", "age")}, False),
        ({"type": "user.created"}, False),
    ],
)
def test_access_ends_with_session_token_role_activity_or_user(fields: dict[str, Any], ends: bool) -> None:
    """Tokens that were valid before may end by the end of a session or API token, by another role or activity, and by deletion."""
    assert Event(time=NOW, actor=None, subject=uuid_utils.compat.uuid7(), **fields).ends_access is ends


def test_types_are_the_five_promised() -> None:
    """The log has five types of event."""
    assert EVENT_TYPES == ("user.created", "user.updated", "user.deleted", "session.ended", "token.ended")
