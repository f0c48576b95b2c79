"""The rooms of this process: who may enter which, and which are kept."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from service.domain.errors import NotFound, ResponseExpired
from service.domain.events.position import Position
from service.domain.idempotency.claims import Claim, IdempotencyStore
from service.domain.ports import Clock
from service.domain.rooms.rules import RoomRules
from service.realtime.encoding import EncodedEntry
from service.realtime.rooms.presence import Member, Presence
from service.realtime.rooms.room import ALL, MESSAGES, Room
from service.realtime.subscribers import EventFilter
from service.security.authenticator import Principal

MOST_ROOMS_PER_CONNECTION: Final = 64

# A room retains its messages for an hour after its last member left, and every user may create another room.
_MOST_BYTES: Final = 64 << 20  # of messages, in all rooms together
_MOST_KEYS: Final = 10_000  # with which messages were sent; about 5 MB
_MOST_EMPTY: Final = 10_000  # rooms that only their history keeps; each takes about 2 KB besides


class Rooms:
    """Rooms by name. One lives while it has members, other readers or history.

    What takes a principal raises `NotFound` for a room that it may not read, as for one that is not there, and
    `Forbidden` for what it may not do in a room that it may read.

    Args:
        history: messages retained for readers that resume, and `history_s` for how long.
    """

    def __init__(
        self, clock: Clock, rules: RoomRules, *, history: int, history_s: float, gather_s: float, leave_s: float
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._history = history
        self._history_s = history_s
        self._gather_s = gather_s
        self._leave_s = leave_s
        self._rooms: dict[str, Room] = {}  # the one that was silent longest comes first
        self._empty: dict[str, Room] = {}  # those without members; the one that has been so longest comes first
        self._bytes = 0
        self._sent: IdempotencyStore[int] = IdempotencyStore(_MOST_KEYS)

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, name: str, principal: Principal) -> Room:
        """The room of that name."""
        self._rules.check_read(principal.caller, name)
        room = self._rooms.get(name)
        if room is None:
            raise NotFound()
        return room

    def page(self, principal: Principal, after: str, limit: int) -> tuple[list[Room], str | None]:
        """Rooms that the user may read, by name, and the name to continue after; None at the end."""
        names = sorted(self._rooms)
        found: list[Room] = []
        for name in names[bisect_right(names, after) :]:
            if self._rules.may_read(principal.caller, name):
                if len(found) == limit:
                    return found, found[-1].name
                found.append(self._rooms[name])
        return found, None

    def members(
        self, name: str, principal: Principal, after: UUID | None, limit: int
    ) -> tuple[list[Member], UUID | None]:
        """The members of a room, by id, and the id to continue after; None at the end."""
        self._rules.check_members(principal.caller, name)
        return self.find(name, principal).presence.page(after, limit)

    def enter(self, name: str, principal: Principal) -> Room:
        """The room of that name, made if there is none, with one more connection of the user in it."""
        room = self._open(name, principal)
        room.presence.enter(principal.caller.id, principal.username, self._clock())
        return room

    def leave(self, room: Room, principal: Principal) -> None:
        room.presence.leave(principal.caller.id)

    def rename(self, user_id: UUID, username: str) -> None:
        """Show a user by another name, wherever it is."""
        for room in self._rooms.values():
            room.presence.rename(user_id, username)

    def visit(self, name: str, principal: Principal) -> Room:
        """The room of that name, made if there is none, with one more reader who is no member."""
        room = self._open(name, principal)
        room.visitors += 1
        return room

    def depart(self, room: Room) -> None:
        """End a visit."""
        room.visitors -= 1
        if room.is_deserted:
            self._deserted(room)

    def readable(self, room: Room, principal: Principal) -> EventFilter:
        """The entries that a member reads: a user who may not see members receives no presence."""
        return ALL if self._rules.may_see_members(principal.caller, room.name) else MESSAGES

    def sweep(self) -> None:
        """Forget what is older than the history that is kept, and rooms with nothing left."""
        before = self._forgets_before()
        # Of 16,000 rooms looked at once a second most have nothing to forget: 5 ms instead of 22.
        for room in [room for room in self._rooms.values() if not room.times or room.times[0] < before]:
            self._settle(room)

    def _forgets_before(self) -> float:
        return self._clock().timestamp() - self._history_s

    def _settle(self, room: Room) -> None:
        room.forget(self._forgets_before())
        if not room.is_deserted:
            return
        if not room.times:
            self._drop(room)
            return
        # The room has no reader now, and a reader that resumes needs only the retained history.
        before = room.ring.bytes
        while len(room.ring) > len(room.times):
            room.ring.drop_oldest()
        self._bytes += room.ring.bytes - before

    def send(self, name: str, principal: Principal, data: Any) -> EncodedEntry:
        """Send a message to the room of that name, made if there is none."""
        self._rules.check_send(principal.caller, name)
        room = self._open(name, principal)
        before = room.ring.bytes
        entry = room.send(principal, data, self._clock())
        self._bytes += room.ring.bytes - before
        self._rooms[room.name] = self._rooms.pop(room.name)
        if room.is_deserted:
            self._deserted(room)
        else:
            self._make_space()
        return entry

    def send_once(self, name: str, principal: Principal, data: Any, claim: Claim) -> tuple[EncodedEntry, bool]:
        """The same, unless that was done with this key: the message, and whether it was sent earlier.

        Raises `IdempotencyKeyReused`, and `ResponseExpired` where the room does not keep that message any more.
        """
        self._rules.check_send(principal.caller, name)
        room = self._rooms.get(name)
        # A room that is created again has another epoch and no history.
        seq = None if room is None else self._sent.find(replace(claim, route=room.epoch))
        if room is not None and seq is not None:
            if seq < room.ring.first:
                raise ResponseExpired()
            return room.ring.after(seq - 1, 0)[0], True
        entry = self.send(name, principal, data)
        self._sent.keep(replace(claim, route=Position.parse(entry.position).epoch), entry.seq)
        return entry, False

    def _open(self, name: str, principal: Principal) -> Room:
        self._rules.check_read(principal.caller, name)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._presence, self._history)
        self._empty.pop(name, None)
        return room

    def _deserted(self, room: Room) -> None:
        self._empty[room.name] = room
        self._settle(room)
        self._make_space()

    def _make_space(self) -> None:
        """Forget empty rooms, then the history of those that were silent longest, until what is kept fits."""
        while self._empty and (len(self._empty) > _MOST_EMPTY or self._bytes > _MOST_BYTES):
            self._drop(next(iter(self._empty.values())))
        while self._bytes > _MOST_BYTES:
            room = next(iter(self._rooms.values()))
            self._bytes -= room.ring.bytes
            room.ring.clear()
            self._rooms[room.name] = self._rooms.pop(room.name)

    def close(self) -> None:
        for room in list(self._rooms.values()):
            self._drop(room)

    def _drop(self, room: Room) -> None:
        room.presence.close()
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._empty.pop(room.name, None)
            self._bytes -= room.ring.bytes
            # A room is a cycle of references: until the collector finds it, its messages would stay in memory uncounted.
            room.ring.clear()

    def _presence(self, room: Room) -> Presence:
        def emptied() -> None:
            if room.is_deserted:
                self._deserted(room)

        return Presence(room.tell, self._gather_s, self._leave_s, emptied)
