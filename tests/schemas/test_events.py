"""Events as they go out."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.domain.events.event import EVENT_TYPES, Event
from service.domain.users.user import CHANGEABLE
from service.schemas.events import EventAnswer, EventListQuery, event_answer, event_json
from service.schemas.users import user_json
from tests.support.domain import a_user, created, updated

NOW = datetime(2026, 11, 21, 9, 30, 0, 5, UTC)


def written(event: Event) -> dict[str, Any]:
    text = event_json(event, "k3f9q2xw")
    assert b"\n" not in text
    EventAnswer.model_validate_json(text)
    fields: dict[str, Any] = json.loads(text)
    return fields


def test_event_carries_the_user_as_it_left_it() -> None:
    """An event about a user contains its position, time, actor and subject, and the user with that version."""
    event = created(a_user()).at(7)
    fields = written(event)

    assert list(fields) == ["id", "type", "time", "actor", "subject", "user"]
    assert (fields["id"], fields["type"], fields["time"]) == ("k3f9q2xw-7", "user.created", "2026-11-21T09:30:00Z")
    assert fields["actor"] == fields["subject"] == str(event.subject)
    assert event.user is not None
    assert fields["user"] == json.loads(user_json(event.user))
    assert fields["user"]["version"] == 7


@given(
    event=st.builds(
        Event,
        type=st.sampled_from(EVENT_TYPES),
        time=st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
        | st.just(datetime(2026, 11, 21, tzinfo=UTC)),
        actor=st.none() | st.uuids(),
        subject=st.uuids(),
        user=st.none() | st.builds(a_user, name=st.text(max_size=20), age=st.none() | st.integers(0, 150)),
        changed=st.lists(st.sampled_from(CHANGEABLE), unique=True).map(tuple),
        session_id=st.none() | st.uuids(),
        reason=st.none() | st.sampled_from(["logout", "deleted"]),
        seq=st.integers(1, 10**17),
        token_id=st.none() | st.uuids(),
    )
)
def test_event_is_written_as_its_model_is(event: Event) -> None:
    """The text that is put together by hand is, byte for byte, that of the model."""
    assert (
        event_json(event, "k3f9q2xw") == event_answer(event, "k3f9q2xw").model_dump_json(exclude_defaults=True).encode()
    )


def test_update_names_what_changed() -> None:
    """An update tells which fields differ."""
    assert written(updated(a_user(), "name", "age").at(7))["changed"] == ["name", "age"]


def test_end_of_a_session_names_it() -> None:
    """The end of a session tells which one and why, and who ended it, null when the service did."""
    session_id = uuid.uuid4()
    fields = written(Event("session.ended", NOW, None, uuid.uuid4(), session_id=session_id, reason="reuse", seq=7))

    assert list(fields) == ["id", "type", "time", "actor", "subject", "user", "session_id", "reason"]
    assert (fields["actor"], fields["user"], fields["session_id"], fields["reason"]) == (
        None,
        None,
        str(session_id),
        "reuse",
    )
    assert fields["time"] == "2026-11-21T09:30:00.000005Z"


def test_user_that_is_gone_is_null() -> None:
    """A deletion, and every earlier event about a deleted user, say `user: null` rather than nothing."""
    gone = written(Event("user.deleted", NOW, None, uuid.uuid4(), seq=7))
    earlier = written(updated(a_user(), "name").at(7).redacted())

    assert gone["user"] is None
    assert (earlier["user"], earlier["changed"]) == (None, ["name"])


@pytest.mark.parametrize("after", ["0", "k3f9q2xw-0", "k3f9q2xw-1042"])
@pytest.mark.parametrize("types", ["user.created", "user.created,session.ended"])
def test_part_of_the_log_is_asked_for(after: str, types: str) -> None:
    """A position or 0, and types with commas between, say which part of the log."""
    wanted = EventListQuery.model_validate({"after": after, "types": types, "limit": "100"})

    assert (wanted.after, wanted.types, wanted.limit) == (after, types, 100)


@pytest.mark.parametrize(
    "query",
    [
        {"after": ""},
        {"after": "1"},
        {"after": "k3f9q2xw-"},
        {"after": "k3f9q2xw-1\n"},
        {"types": ""},
        {"types": "user.renamed"},
        {"types": "user.created,"},
        {"types": "userXcreated"},
        {"types": "user.created user.updated"},
        {"limit": "0"},
        {"until": "5"},
    ],
)
def test_other_questions_are_refused(query: dict[str, str]) -> None:
    """Malformed positions, unknown types and unknown parameters are refused."""
    with pytest.raises(ValidationError):
        EventListQuery.model_validate(query)
