"""The interface of rooms for connections and views, in one process or shared by many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from service.domain.errors import NotFound
from service.domain.idempotency.claims import Claim
from service.domain.rooms.rules import RoomRules
from service.realtime.encoding import EncodedEntry
from service.realtime.engine import Member, RoomSummary
from service.realtime.rooms.room import ALL, MESSAGES, Room
from service.realtime.subscribers import EventFilter
from service.security.authenticator import Principal

R = TypeVar("R", bound=Room)

MOST_ROOMS_PER_CONNECTION: Final = 64


class Rooms(ABC, Generic[R]):
    """Rooms by name. One lives while it has members, other readers or history.

    A method that takes a principal raises `NotFound` for a room that it may not read, as for one that does not exist, and
    `Forbidden` for an act that is not allowed in a room that it may read. A method that suspends raises `Unavailable` where rooms
    cannot be reached.
    """

    def __init__(self, rules: RoomRules) -> None:
        self._rules = rules
        self._failure_listeners: list[Callable[[], None]] = []

    def add_failure_listener(self, listener: Callable[[], None]) -> None:
        """Call it when rooms that are shared with other processes could not be followed for five seconds.

        It is called once in an outage. Rooms of one process do not fail.
        """
        self._failure_listeners.append(listener)

    @property
    @abstractmethod
    def held(self) -> Mapping[str, R]:
        """The rooms that this process holds, by name."""

    @property
    def is_ready(self) -> bool:
        """Whether rooms can be served now."""
        return True

    @property
    def lag_s(self) -> float:
        """For how many seconds this process could not follow rooms that it shares with others; 0 while it can."""
        return 0.0

    def __len__(self) -> int:
        return len(self.held)

    async def find(self, name: str, principal: Principal) -> R:
        """The room of that name."""
        self._rules.check_read(principal.caller, name)
        room = await self._find(name)
        if room is None:
            raise NotFound()
        return room

    async def page(self, principal: Principal, after: str, limit: int) -> tuple[list[RoomSummary], str | None]:
        """Rooms that the user may read, by name, and the name to continue after; None at the end."""
        found: list[RoomSummary] = []
        while summaries := await self._list(after, limit + 1):
            for summary in summaries:
                if self._rules.may_read(principal.caller, summary.name):
                    if len(found) == limit:
                        return found, found[-1].name
                    found.append(summary)
            after = summaries[-1].name
        return found, None

    async def members(
        self, name: str, principal: Principal, after: UUID | None, limit: int
    ) -> tuple[list[Member], UUID | None]:
        """The members of a room, by id, and the id to continue after; None at the end."""
        self._rules.check_members(principal.caller, name)
        room = await self.find(name, principal)
        found = await self._members(room, after, limit + 1)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def enter(self, name: str, principal: Principal) -> R:
        """The room of that name, created if it does not exist, with one more connection of the user in it."""
        self._rules.check_read(principal.caller, name)
        room = await self._open(name)
        await self._enter(room, principal)
        return room

    @abstractmethod
    def leave(self, room: R, principal: Principal) -> None:
        """End what `enter` began."""

    async def add_listener(self, name: str, principal: Principal) -> R:
        """The room of that name, created if it does not exist, with one more reader who is no member."""
        self._rules.check_read(principal.caller, name)
        room = await self._open(name)
        room.listeners += 1
        return room

    def remove_listener(self, room: R) -> None:
        """End what `add_listener` began."""
        room.listeners -= 1
        self._on_left(room)

    @abstractmethod
    def rename(self, user_id: UUID, username: str) -> None:
        """Show a user by another name, wherever it is."""

    def readable(self, room: R, principal: Principal) -> EventFilter:
        """The entries that a member reads: a user who may not see members receives no presence."""
        return ALL if self._rules.may_see_members(principal.caller, room.name) else MESSAGES

    async def send(self, name: str, principal: Principal, data: Any) -> EncodedEntry:
        """Send a message to the room of that name, created if it does not exist."""
        self._rules.check_send(principal.caller, name)
        return await self._send(name, principal, data)

    async def send_once(self, name: str, principal: Principal, data: Any, claim: Claim) -> tuple[EncodedEntry, bool]:
        """Send a message, unless that was done with this key: the message, and whether it was sent earlier.

        Raises `IdempotencyKeyReused`, and `ResponseExpired` where the room no longer retains that message.
        """
        self._rules.check_send(principal.caller, name)
        return await self._send_once(name, principal, data, claim)

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def count_connections(self, user_id: UUID, count: int) -> int:
        """Say how many connections a user has in this process; returns how many there are in all processes that share the rooms."""
        return count

    @abstractmethod
    def sweep(self) -> None:
        """Forget what is older than the history that is retained, and rooms with nothing left. Called once a second."""

    @abstractmethod
    async def _find(self, name: str) -> R | None: ...

    @abstractmethod
    async def _open(self, name: str) -> R:
        """The room, created if it does not exist. The caller enters it or listens to it in the same turn of the loop."""

    @abstractmethod
    async def _enter(self, room: R, principal: Principal) -> None: ...

    @abstractmethod
    def _on_left(self, room: R) -> None:
        """A reader has left."""

    @abstractmethod
    async def _list(self, after: str, limit: int) -> list[RoomSummary]:
        """Rooms after a name, by name; none at the end."""

    @abstractmethod
    async def _members(self, room: R, after: UUID | None, limit: int) -> list[Member]:
        """Members after an id, by id."""

    @abstractmethod
    async def _send(self, name: str, principal: Principal, data: Any) -> EncodedEntry: ...

    @abstractmethod
    async def _send_once(
        self, name: str, principal: Principal, data: Any, claim: Claim
    ) -> tuple[EncodedEntry, bool]: ...


AnyRooms = Rooms[Any]
"""Rooms for callers that only hand a room back to them."""
