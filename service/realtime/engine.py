"""The port to an engine of shared rooms: a log for each room, and its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from service.domain.events.position import Position
from service.domain.idempotency.claims import Claim

MOST_NAMED_MEMBERS = 200
"""Up to this number, members are announced by name; above it, as a number alone."""


class RoomMessage(NamedTuple):
    """One message of a room.

    Attributes:
        time: by the clock of the engine.
        body: the sender and the data, as `encode_body` made it.
    """

    position: Position
    time: datetime
    body: bytes


class Member(NamedTuple):
    """A user in a room, on however many connections and processes."""

    id: UUID
    username: str
    since: datetime


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room as the engine holds it.

    Attributes:
        head: the position of the last message.
        messages: oldest first, up to the head; those that this process asked for, or all that are retained.
        count: of members.
        members: None where there are more than `MOST_NAMED_MEMBERS`.
    """

    head: Position
    messages: Sequence[RoomMessage]
    count: int
    members: Mapping[UUID, Member] | None


class PresenceChange(NamedTuple):
    """One member joined or left.

    Attributes:
        members: how many there are afterwards.
    """

    members: int
    joined: Member | None = None
    left: UUID | None = None


class RoomSubscriber(Protocol):
    """Follows one room; called on the event loop, in order."""

    def on_state(self, state: RoomState) -> None:
        """The room as it is now: once when it is attached, and whenever messages may have been lost on the way.

        A state of another epoch replaces the room. One of the same epoch continues it; where its first message is not the next
        one, those between are lost.
        """

    def on_message(self, message: RoomMessage) -> None:
        """The next message."""

    def on_presence(self, change: PresenceChange) -> None: ...


class SentMessage(NamedTuple):
    """A message that was sent; `is_replay` where an earlier call with the same idempotency key sent it."""

    message: RoomMessage
    is_replay: bool


class RoomSummary(NamedTuple):
    """A room in a list. `members`: how many there are."""

    name: str
    head: Position
    members: int


class RoomEngine(Protocol):
    """Logs and members of all rooms. A method that suspends raises `Unavailable` where the engine cannot be reached."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Leave all rooms at once, so that other processes need not wait until this one is missed."""

    async def attach(self, room: str, subscriber: RoomSubscriber, *, create: bool) -> bool:
        """Have a subscriber follow a room; its `on_state` has been called when this returns.

        Returns:
            Whether there is such a room; always True with `create`.
        """

    def detach(self, room: str) -> None:
        """End what `attach` began."""

    async def send(self, room: str, body: bytes, claim: Claim | None) -> SentMessage:
        """Append a message to a room that may not exist yet.

        Where the room is attached, the subscriber receives the message after the caller received this answer.

        Args:
            claim: of the idempotency key of the request; None without one.

        Raises:
            IdempotencyKeyReused: the key belongs to another message.
            ResponseExpired: the room no longer retains the message that was sent with the key.
            Unavailable: the message was not sent, or the answer was lost.
        """

    async def enter(self, room: str, user: UUID, username: str) -> int:
        """The first connection of a user in this process is in a room that is attached; how many members there are.

        The user is in the room until `leave`, also where this is cancelled or raises.
        """

    def leave(self, room: str, user: UUID) -> None:
        """The last one left. The user counts as a member until the grace time is over."""

    def rename(self, room: str, user: UUID, username: str) -> None: ...

    async def count_connections(self, user: UUID, count: int) -> int:
        """Say how many connections a user has in this process; returns how many there are in all processes."""

    async def list_members(self, room: str, after: UUID | None, limit: int) -> Sequence[Member]:
        """Members after an id, by id."""

    async def list_rooms(self, after: str, limit: int) -> Sequence[RoomSummary]:
        """Rooms after a name, by name."""

    @property
    def is_ready(self) -> bool:
        """Whether rooms can be served now."""

    @property
    def lag_s(self) -> float:
        """For how long this process has not been able to follow its rooms; 0 while it can."""
