"""Rooms, their members and messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from roster_client.models.decode import JSON_NAME, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSummary(Model):
    """A room. `count` is the number of members that are connected."""

    room: str
    position: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Model):
    """A user who is connected to a room."""

    id: str
    username: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender(Model):
    """The user that sent a message."""

    id: str
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Model):
    """A message. `sender` is `from` in the JSON; `id` is its position in the log of the room."""

    type: str
    room: str
    id: str
    sender: Sender = field(metadata={JSON_NAME: "from"})
    time: datetime
    data: Any
