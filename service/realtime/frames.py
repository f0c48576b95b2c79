"""The frames that clients send over `/v1/ws`, a model for each."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.domain.events.event import EventType
from service.schemas.rooms import RoomName

Ref = Annotated[str, Field(max_length=64)]
PositionText = Annotated[str, Field(max_length=64)]


class Frame(BaseModel):
    """A frame from the client. `ref` is repeated in its answer."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    ref: Ref | None = None


class Echo(Frame):
    type: Literal["echo"]
    data: Any = None


class Ping(Frame):
    type: Literal["ping"]


class Auth(Frame):
    type: Literal["auth"]
    token: Annotated[str, Field(min_length=1, max_length=4096)]


class Join(Frame):
    type: Literal["join"]
    room: RoomName
    after: PositionText | None = None
    history: Annotated[int, Field(ge=0, le=1000)] = 0


class Leave(Frame):
    type: Literal["leave"]
    room: RoomName


class Broadcast(Frame):
    type: Literal["broadcast"]
    room: RoomName
    data: Any


class Members(Frame):
    type: Literal["members"]
    room: RoomName
    cursor: UUID | None = Field(default=None, strict=False)


class Subscribe(Frame):
    type: Literal["subscribe"]
    after: PositionText | None = None
    types: Annotated[list[EventType], Field(min_length=1)] | None = None


class Unsubscribe(Frame):
    type: Literal["unsubscribe"]
