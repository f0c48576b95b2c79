"""The rooms of one process, in its memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from service.domain.errors import ResponseExpired
from service.domain.events.position import Position, new_epoch
from service.domain.idempotency.claims import Claim, IdempotencyStore
from service.domain.ports import Clock
from service.domain.rooms.rules import RoomRules
from service.realtime.encoding import EncodedEntry
from service.realtime.engine import Member, RoomSummary
from service.realtime.rooms.message import encode_body, encode_message
from service.realtime.rooms.presence import LocalPresence
from service.realtime.rooms.room import Room
from service.realtime.rooms.rooms import Rooms
from service.security.authenticator import Principal

# A room retains its messages for an hour after its last member left, and every user may create another room.
_MOST_BYTES: Final = 64 << 20  # of messages, in all rooms together
_MOST_KEYS: Final = 10_000  # with which messages were sent; about 5 MB
_MOST_EMPTY: Final = 10_000  # rooms that only their history keeps; each takes about 2 KB besides


class MemoryRoom(Room):
    """A room whose ring is its history."""

    def __init__(self, name: str, history: int, rooms: MemoryRooms) -> None:
        super().__init__(name, new_epoch(), 0, history)
        self.presence: LocalPresence = LocalPresence(
            self.announce, rooms.batch_s, rooms.grace_s, lambda: rooms._on_left(self)
        )

    @property
    def count(self) -> int:
        return len(self.presence)

    @property
    def is_deserted(self) -> bool:
        return not len(self.presence) and not self.listeners


class MemoryRooms(Rooms[MemoryRoom]):
    """Rooms that end with their process.

    Args:
        history: messages retained for readers that resume, and `history_s` for how many seconds.
        batch_s: seconds within which changes of presence are announced together.
        grace_s: seconds for which a member whose last connection closed stays a member.
    """

    def __init__(
        self, clock: Clock, rules: RoomRules, *, history: int, history_s: float, batch_s: float, grace_s: float
    ) -> None:
        super().__init__(rules)
        self.batch_s = batch_s
        self.grace_s = grace_s
        self._clock = clock
        self._history = history
        self._history_s = history_s
        self._rooms: dict[str, MemoryRoom] = {}  # the one that was silent longest comes first
        self._empty: dict[str, MemoryRoom] = {}  # those without members; the one that has been so longest comes first
        self._bytes = 0
        self._sent: IdempotencyStore[int] = IdempotencyStore(_MOST_KEYS)

    @property
    def held(self) -> Mapping[str, MemoryRoom]:
        return self._rooms

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        for room in list(self._rooms.values()):
            self._drop(room)

    def leave(self, room: MemoryRoom, principal: Principal) -> None:
        room.presence.leave(principal.caller.id)

    def rename(self, user_id: UUID, username: str) -> None:
        for room in self._rooms.values():
            room.presence.rename(user_id, username)

    def sweep(self) -> None:
        before = self._expiry()
        # Of 16,000 rooms looked at once a second most have nothing to forget: 5 ms instead of 22.
        for room in [room for room in self._rooms.values() if not room.times or room.times[0] < before]:
            self._settle(room)

    async def _find(self, name: str) -> MemoryRoom | None:
        return self._rooms.get(name)

    async def _open(self, name: str) -> MemoryRoom:
        return self._create(name)

    def _create(self, name: str) -> MemoryRoom:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = MemoryRoom(name, self._history, self)
        self._empty.pop(name, None)
        return room

    async def _enter(self, room: MemoryRoom, principal: Principal) -> None:
        room.presence.enter(principal.caller.id, principal.username, self._clock())

    def _on_left(self, room: MemoryRoom) -> None:
        if room.is_deserted:
            self._empty[room.name] = room
            self._settle(room)
            self._make_space()

    async def _list(self, after: str, limit: int) -> list[RoomSummary]:
        names = sorted(self._rooms)
        start = bisect_right(names, after)
        rooms = (self._rooms[name] for name in names[start : start + limit])
        return [RoomSummary(room.name, room.head, room.count) for room in rooms]

    async def _members(self, room: MemoryRoom, after: UUID | None, limit: int) -> list[Member]:
        return room.presence.page(after, limit)

    async def _send(self, name: str, principal: Principal, data: Any) -> EncodedEntry:
        return self._append(name, principal, data)

    def _append(self, name: str, principal: Principal, data: Any) -> EncodedEntry:
        room = self._create(name)
        now = self._clock()
        position = Position(room.epoch, room.ring.head + 1)
        entry = encode_message(name, position, now, encode_body(principal, data))
        before = room.ring.bytes
        room.take(entry, now)
        self._bytes += room.ring.bytes - before
        self._rooms[room.name] = self._rooms.pop(room.name)
        if room.is_deserted:
            self._on_left(room)
        else:
            self._make_space()
        return entry

    async def _send_once(self, name: str, principal: Principal, data: Any, claim: Claim) -> tuple[EncodedEntry, bool]:
        room = self._rooms.get(name)
        # A room that is created again has another epoch and no history.
        seq = None if room is None else self._sent.find(replace(claim, route=room.epoch))
        if room is not None and seq is not None:
            if seq < room.ring.first:
                raise ResponseExpired()
            return room.ring.after(seq - 1, 0)[0], True
        entry = self._append(name, principal, data)
        self._sent.keep(replace(claim, route=Position.parse(entry.position).epoch), entry.seq)
        return entry, False

    def _expiry(self) -> float:
        return self._clock().timestamp() - self._history_s

    def _settle(self, room: MemoryRoom) -> None:
        room.forget(self._expiry())
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

    def _make_space(self) -> None:
        """Forget empty rooms, then the history of those that were silent longest, until what is retained fits."""
        while self._empty and (len(self._empty) > _MOST_EMPTY or self._bytes > _MOST_BYTES):
            self._drop(next(iter(self._empty.values())))
        while self._bytes > _MOST_BYTES:
            room = next(iter(self._rooms.values()))
            self._bytes -= room.ring.bytes
            room.ring.clear()
            self._rooms[room.name] = self._rooms.pop(room.name)

    def _drop(self, room: MemoryRoom) -> None:
        room.presence.close()
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._empty.pop(room.name, None)
            self._bytes -= room.ring.bytes
            # A room is a cycle of references: until the collector finds it, its messages would stay in memory uncounted.
            room.ring.clear()
