"""The JSON of events: the same on pages of the log, in the feed and on the WebSocket."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.domain.events.event import (
    EVENT_TYPES,
    EndReason,
    Event,
    EventType,
)
from service.domain.events.position import Position
from service.schemas.fields import Limit, Query, ResponseModel, digits
from service.schemas.users import UserAnswer, user_answer, user_line

_TYPE = "|".join(EVENT_TYPES).replace(".", r"\.")
TYPES_PATTERN: Final = rf"^({_TYPE})(,({_TYPE}))*$"
AFTER_PATTERN: Final = r"^(0|[a-z0-9]{1,32}-(0|[1-9][0-9]{0,17}))$"

After = Annotated[
    str,
    Field(
        pattern=AFTER_PATTERN,
        description="Position after which to begin, `<epoch>-<seq>`; `0` for the oldest event kept.",
        examples=["0"],
    ),
]
Types = Annotated[
    str,
    Field(
        pattern=TYPES_PATTERN,
        description="Only these types of event, with commas between.",
        examples=["user.created,user.updated"],
    ),
]


class EventAnswer(ResponseModel):
    """A change of an account."""

    # What a type of event does not have is left out, never null.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    id: Annotated[str, Field(examples=["k3f9q2xw-1042"])]
    """Its position in the log, `<epoch>-<seq>`."""
    type: Annotated[EventType, Field(examples=["user.updated"])]
    """What happened."""
    time: Annotated[datetime, Field(examples=["2026-11-21T09:30:00.123456Z"])]
    """The time in UTC. Only `id` gives the order."""
    actor: Annotated[UUID | None, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])]
    """The user who did it; null for the service itself."""
    subject: Annotated[UUID, Field(examples=["0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"])]
    """The user whom it is about."""
    user: UserAnswer | None
    """The user as this event left it; null for all that do not begin with `user.`, for `user.deleted`, and once the user is deleted."""
    changed: Annotated[list[str], Field(examples=[["name"]])] | SkipJsonSchema[None] = None
    """For `user.updated`: the fields that differ."""
    session_id: UUID | SkipJsonSchema[None] = None
    """For `session.ended`: which session."""
    token_id: UUID | SkipJsonSchema[None] = None
    """For `token.ended`: which API token."""
    reason: EndReason | SkipJsonSchema[None] = None
    """For `session.ended` and `token.ended`: why."""


class EventList(ResponseModel):
    """A page of the log."""

    items: list[EventAnswer]
    """The events of this page, oldest first."""
    next: Annotated[str | None, Field(examples=["k3f9q2xw-1062"])]
    """Position to give as `after` for the next page; null when there is none yet: go on from the `Roster-Position` header."""


class EventListQuery(Query):
    """The part of the log to return."""

    after: After | None = None
    limit: Limit = 20
    types: Types | None = None


class TicketQuery(Query):
    """Credentials of a stream for clients that cannot send a header."""

    ticket: Annotated[str, Field(max_length=100, examples=["pZc0mX8kQ2…"])] | None = None
    """Instead of the `Authorization` header, from `POST /v1/auth/ticket`."""


class FeedFilter(TicketQuery):
    """The part of the feed to send, and for how long."""

    after: After | None = None
    """Position after which to begin, `<epoch>-<seq>`; `0` for the oldest event kept; omitted: the head. `Last-Event-ID` wins over it."""
    types: Types | None = None
    limit: (
        Annotated[
            int,
            Field(ge=1, le=10_000, description="End the stream after so many events.", examples=[10]),
            BeforeValidator(digits),
        ]
        | None
    ) = None


def event_answer(event: Event, epoch: str) -> EventAnswer:
    """The response model of an event in the log with that epoch."""
    return EventAnswer.model_construct(
        id=str(Position(epoch, event.seq)),
        type=event.type,
        time=event.time,
        actor=event.actor,
        subject=event.subject,
        user=None if event.user is None else user_answer(event.user),
        changed=list(event.changed) or None,
        session_id=event.session_id,
        token_id=event.token_id,
        reason=event.reason,
    )


def event_json(event: Event, epoch: str) -> bytes:
    """The same as text; fields that its type does not have are left out.

    Written by hand, in a third of the time: every event passes here once. A test holds it to the model.
    """
    moment = event.time.isoformat().replace("+00:00", "Z")
    actor = "null" if event.actor is None else f'"{event.actor}"'
    more = ""
    if event.changed:
        more += f',"changed":{json.dumps(event.changed, separators=(",", ":"))}'
    if event.session_id is not None:
        more += f',"session_id":"{event.session_id}"'
    if event.token_id is not None:
        more += f',"token_id":"{event.token_id}"'
    if event.reason is not None:
        more += f',"reason":"{event.reason}"'
    return b'{"id":"%b-%d","type":"%b","time":"%b","actor":%b,"subject":"%b","user":%b%b}' % (
        epoch.encode(),
        event.seq,
        event.type.encode(),
        moment.encode(),
        actor.encode(),
        str(event.subject).encode(),
        b"null" if event.user is None else user_line(event.user)[:-1],
        more.encode(),
    )
