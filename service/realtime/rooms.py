"""Rooms: logs with a short memory and no table, and who is in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from service.domain.ports import Clock
from service.domain.positions import new_epoch
from service.realtime.frames import Entry, Form, compact, text_frame
from service.realtime.log import Log, Want
from service.realtime.presence import Presence
from service.realtime.ring import Ring
from service.security.authenticator import Principal

ROOM_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MOST_ROOMS_PER_CONNECTION: Final = 64

_RING_BYTES: Final = 8 << 20
# Readers a little behind must find what they miss here even where no history is kept for those who come back.
_RING_ENTRIES: Final = 1_000
# What a room keeps outlives its last member by an hour, and anybody can make another one.
_MOST_BYTES: Final = 64 << 20  # of messages, in all rooms together
_MOST_EMPTY: Final = 10_000  # rooms that only their history keeps; each takes about 2 KB besides
_ADMINS_ONLY: Final = re.compile(r"admin\.")


def may_enter(principal: Principal, room: str) -> bool:
    """Whether somebody may read and write in a room: any signed-in user, in `admin.*` administrators only."""
    return principal.caller.is_admin or _ADMINS_ONLY.match(room) is None


class Room(Log):
    """One room. Positions count its messages; its epoch ends with it."""

    def __init__(self, name: str, presence: Callable[[Room], Presence]) -> None:
        super().__init__(new_epoch(), Ring(0, _RING_ENTRIES, _RING_BYTES))
        self.name = name
        self.presence = presence(self)
        self.times: list[float] = []

    def send(self, principal: Principal, data: Any, now: datetime) -> Entry:
        """Put a message at the end of the log: every member gets the same bytes."""
        seq = self.ring.head + 1
        position = f"{self.epoch}-{seq}"
        frame = compact(
            {
                "type": "message",
                "room": self.name,
                "id": position,
                "from": {"id": str(principal.caller.id), "username": principal.username},
                "time": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "data": data,
            }
        )
        entry = Entry(seq, None, "message", position, frame, frame)
        self.append(entry)
        return entry

    def tell(self, change: dict[str, Any]) -> None:
        """Tell the members who came and went. Not part of the log: who is behind asks again with `members`."""
        self.flush()
        frame = text_frame(compact({"type": "presence", "room": self.name, **change}))
        for reader in list(self.live_readers()):
            if reader.form is Form.WEBSOCKET and not reader.offer(frame):
                self.detach(reader, Want())
                reader.fall_behind(self.ring.head)


class Rooms:
    """The rooms of this process, by name. A room lives while it has members or history.

    Args:
        history: messages kept for those who come back, and `history_s` for how long.
    """

    def __init__(self, clock: Clock, *, history: int, history_s: float, gather_s: float, leave_s: float) -> None:
        self._clock = clock
        self._history = history
        self._history_s = history_s
        self._gather_s = gather_s
        self._leave_s = leave_s
        self._rooms: dict[str, Room] = {}  # the one that was silent longest comes first
        self._empty: dict[str, Room] = {}  # those without members; the one that has been so longest comes first
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def enter(self, name: str, principal: Principal) -> Room:
        """The room of that name, made if there is none, with one more connection of the user in it."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._presence)
        self._empty.pop(name, None)
        room.presence.enter(principal.caller.id, principal.username, self._clock())
        return room

    def leave(self, room: Room, principal: Principal) -> None:
        room.presence.leave(principal.caller.id)

    def sweep(self) -> None:
        """Forget what is older than the history that is kept, and rooms with nothing left."""
        for room in list(self._rooms.values()):
            self._settle(room)

    def _settle(self, room: Room) -> None:
        oldest = self._clock().timestamp() - self._history_s
        while room.times and (len(room.times) > self._history or room.times[0] < oldest):
            room.times.pop(0)
        if len(room.presence):
            return
        if not room.times:
            self._drop(room)
            return
        # Nobody reads it now, and who comes back reads on from no further back.
        before = room.ring.bytes
        while len(room.ring) > len(room.times):
            room.ring.drop_oldest()
        self._bytes += room.ring.bytes - before

    def send(self, room: Room, principal: Principal, data: Any) -> Entry:
        now = self._clock()
        room.times.append(now.timestamp())
        if len(room.times) > self._history:
            del room.times[0]
        before = room.ring.bytes
        entry = room.send(principal, data, now)
        self._bytes += room.ring.bytes - before
        self._rooms[room.name] = self._rooms.pop(room.name)
        self._make_space()
        return entry

    def _emptied(self, room: Room) -> None:
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

    def recoverable(self, room: Room) -> int:
        """The lowest seq that somebody who comes back may read on from."""
        return room.ring.head - min(len(room.times), len(room.ring))

    def close(self) -> None:
        for room in list(self._rooms.values()):
            self._drop(room)

    def _drop(self, room: Room) -> None:
        room.presence.close()
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._empty.pop(room.name, None)
            self._bytes -= room.ring.bytes

    def _presence(self, room: Room) -> Presence:
        return Presence(room.tell, self._gather_s, self._leave_s, lambda: self._emptied(room))
