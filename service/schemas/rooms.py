"""Responses and queries of rooms over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from service.domain.rooms.rules import ROOM_NAME
from service.schemas.events import After, TicketQuery
from service.schemas.fields import Body, Limit, Query, ResponseModel, digits

RoomName = Annotated[str, Field(pattern=ROOM_NAME, examples=["lobby"])]
_ID = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"


class RoomSummaryAnswer(ResponseModel):
    """A room that has members, readers or history."""

    room: RoomName
    """Its name."""
    position: Annotated[str, Field(examples=["q7d2m5xa-17"])]
    """Of its last message."""
    count: Annotated[int, Field(examples=[3])]
    """How many are in it."""


class RoomList(ResponseModel):
    """A page of the rooms that the caller may read."""

    items: list[RoomSummaryAnswer]
    """The rooms of this page, by name."""
    next: Annotated[str | None, Field(examples=["lobby"])]
    """`cursor` of the next page; null when this is the last."""


class MemberAnswer(ResponseModel):
    """A member of a room: one entry per user, whatever the number of connections."""

    id: Annotated[UUID, Field(examples=[_ID])]
    """The user."""
    username: Annotated[str, Field(examples=["ada"])]
    """Its name."""
    since: Annotated[datetime, Field(examples=["2026-11-21T09:30:00.123Z"])]
    """When its first connection joined."""


class MemberList(ResponseModel):
    """A page of a room's members."""

    items: list[MemberAnswer]
    """The members of this page, by id."""
    next: Annotated[UUID | None, Field(examples=[_ID])]
    """`cursor` of the next page; null when this is the last."""


class Sender(ResponseModel):
    """The sender of a message."""

    id: Annotated[UUID, Field(examples=[_ID])]
    """The user."""
    username: Annotated[str, Field(examples=["ada"])]
    """Its name then."""


class Message(ResponseModel):
    """A message in a room: the same object that its members receive."""

    type: Literal["message"]
    """As on the WebSocket."""
    room: RoomName
    """Where."""
    id: Annotated[str, Field(examples=["q7d2m5xa-17"])]
    """Its position in the room, `<epoch>-<seq>`."""
    sender: Annotated[Sender, Field(alias="from")]
    """Who."""
    time: Annotated[datetime, Field(examples=["2026-11-21T09:30:00.123456Z"])]
    """The time in UTC. Only `id` gives the order."""
    data: Annotated[Any, Field(examples=[{"text": "hello"}])]
    """What."""


class MessageList(ResponseModel):
    """A page of a room's history."""

    items: list[Message]
    """The messages of this page, oldest first."""
    next: Annotated[str | None, Field(examples=["q7d2m5xa-17"])]
    """Position to give as `after` for the next page; null when there is none yet."""
    position: Annotated[str, Field(examples=["q7d2m5xa-17"])]
    """Up to where this page was looked for: open the room's feed `after` it."""


class MessageBody(Body):
    """The message to send."""

    data: Annotated[Any, Field(examples=[{"text": "hello"}])]
    """Any JSON."""


class RoomFilter(Query):
    """The page of rooms to return."""

    cursor: RoomName | None = None
    """`next` of the page before."""
    limit: Limit = 20


class MemberFilter(Query):
    """The page of members to return."""

    cursor: Annotated[UUID, Field(examples=[_ID])] | None = None
    """`next` of the page before."""
    limit: Limit = 20


class MessageFilter(Query):
    """The part of a room's history to return."""

    after: After | None = None
    limit: Limit = 20


class RoomFeedFilter(TicketQuery):
    """The position after which to read a room, and for how long."""

    after: After | None = None
    """Position in the room after which to begin; `0` for the oldest message kept; omitted: the head. `Last-Event-ID` wins over it."""
    limit: (
        Annotated[
            int,
            Field(ge=1, le=10_000, description="End the stream after so many messages.", examples=[10]),
            BeforeValidator(digits),
        ]
        | None
    ) = None
