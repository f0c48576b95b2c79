"""The rooms that many processes share through an engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from service.domain.errors import NotFound, Unavailable
from service.domain.idempotency.claims import Claim
from service.domain.rooms.rules import RoomRules
from service.realtime.encoding import EncodedEntry
from service.realtime.engine import Member, PresenceChange, RoomEngine, RoomMessage, RoomState, RoomSummary
from service.realtime.rooms.message import encode_body, encode_message
from service.realtime.rooms.presence import SharedPresence
from service.realtime.rooms.room import Room
from service.realtime.rooms.rooms import Rooms
from service.security.authenticator import Principal

log = logging.getLogger("roster")

_IDLE_S: Final = 30.0
_MOST_BYTES: Final = 64 << 20  # of messages, in all rooms that this process reads
_MOST_LAG_S: Final = 5.0
_SECONDS_TO_RETRY: Final = 2.0


class SharedRoom(Room):
    """This process's copy of a room: what the engine passes on, and the connections that read it here.

    Attributes:
        connections: of each user in this process.
        idle_since: when its last reader here left, in seconds of the monotonic clock.
    """

    def __init__(self, name: str, history: int, batch_s: float) -> None:
        super().__init__(name, "", 0, history)
        self._history = history
        self.presence = SharedPresence(self.announce, batch_s)
        self.connections: Counter[UUID] = Counter()
        self.idle_since = time.monotonic()

    @property
    def count(self) -> int:
        return self.presence.count

    @property
    def is_deserted(self) -> bool:
        """Whether this process has no reader of it."""
        return not self.connections and not self.listeners

    def on_state(self, state: RoomState) -> None:
        is_first, is_new = not self.epoch, state.head.epoch != self.epoch
        missed = [message for message in state.messages if is_new or message.position.seq > self.ring.head]
        begins_at = missed[0].position.seq if missed else state.head.seq + 1
        if is_new or begins_at != self.ring.head + 1:
            self.restart(state.head.epoch, begins_at - 1, self._history)
        for message in missed:
            self.on_message(message)
        self.presence.replace(state.count, state.members, is_new=is_first)

    def on_message(self, message: RoomMessage) -> None:
        self.take(encode_message(self.name, message.position, message.time, message.body), message.time)

    def on_presence(self, change: PresenceChange) -> None:
        self.presence.apply(change)


class SharedRooms(Rooms[SharedRoom]):
    """Rooms of an engine, with a copy of each one that has readers in this process.

    Args:
        history: messages retained for readers that resume, and `history_s` for how many seconds.
        batch_s: seconds within which changes of presence are announced together.
    """

    def __init__(
        self,
        engine: RoomEngine,
        rules: RoomRules,
        *,
        history: int,
        history_s: float,
        batch_s: float,
    ) -> None:
        super().__init__(rules)
        self._engine = engine
        self._history = history
        self._history_s = history_s
        self._batch_s = batch_s
        self._rooms: dict[str, SharedRoom] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._gave_up = False

    @property
    def held(self) -> Mapping[str, SharedRoom]:
        return self._rooms

    @property
    def is_ready(self) -> bool:
        return self._engine.is_ready

    @property
    def lag_s(self) -> float:
        return self._engine.lag_s

    async def open(self) -> None:
        await self._engine.open()

    async def close(self) -> None:
        for room in list(self._rooms.values()):
            self._drop(room)
        await self._engine.close()

    def leave(self, room: SharedRoom, principal: Principal) -> None:
        user = principal.caller.id
        room.connections[user] -= 1
        if not room.connections[user]:
            del room.connections[user]
            self._engine.leave(room.name, user)
        self._on_left(room)

    def rename(self, user_id: UUID, username: str) -> None:
        for room in self._rooms.values():
            if user_id in room.connections:
                self._engine.rename(room.name, user_id, username)

    async def count_connections(self, user_id: UUID, count: int) -> int:
        return await self._engine.count_connections(user_id, count)

    def sweep(self) -> None:
        now, before = time.monotonic(), time.time() - self._history_s
        for room in list(self._rooms.values()):
            room.forget(before)
            if room.is_deserted and now - room.idle_since > _IDLE_S:
                self._drop(room)
        self._make_space()
        self._check_engine()

    def _check_engine(self) -> None:
        lag_s = self._engine.lag_s
        if lag_s <= _MOST_LAG_S:
            self._gave_up = False
        elif not self._gave_up:
            self._gave_up = True
            log.error("rooms cannot be followed; their streams end", extra={"lag_s": round(lag_s, 1)})
            for listener in self._failure_listeners:
                listener()

    async def _find(self, name: str) -> SharedRoom | None:
        return await self._attach(name, create=False)

    async def _open(self, name: str) -> SharedRoom:
        room = await self._attach(name, create=True)
        if room is None:
            raise NotFound()
        return room

    async def _attach(self, name: str, *, create: bool) -> SharedRoom | None:
        if self._engine.lag_s:
            raise Unavailable(_SECONDS_TO_RETRY, "Rooms cannot be followed now; come back shortly.")
        room = self._rooms.get(name)
        if room is None:
            lock = self._opening.setdefault(name, asyncio.Lock())
            try:
                async with lock:
                    room = self._rooms.get(name)
                    if room is None:
                        room = SharedRoom(name, self._history, self._batch_s)
                        if not await self._engine.attach(name, room, create=create):
                            return None
                        self._rooms[name] = room
            finally:
                if not lock.locked():
                    self._opening.pop(name, None)
        return room

    async def _enter(self, room: SharedRoom, principal: Principal) -> None:
        user = principal.caller.id
        room.connections[user] += 1
        if room.connections[user] > 1:
            return
        try:
            # Announced to the room a moment later; the answer to the user counts it already.
            room.presence.count = await self._engine.enter(room.name, user, principal.username)
        except BaseException:
            self.leave(room, principal)
            raise

    def _on_left(self, room: SharedRoom) -> None:
        room.idle_since = time.monotonic()

    async def _list(self, after: str, limit: int) -> list[RoomSummary]:
        return list(await self._engine.list_rooms(after, limit))

    async def _members(self, room: SharedRoom, after: UUID | None, limit: int) -> list[Member]:
        return list(await self._engine.list_members(room.name, after, limit))

    async def _send(self, name: str, principal: Principal, data: Any) -> EncodedEntry:
        sent = await self._engine.send(name, encode_body(principal, data), None)
        return encode_message(name, *sent.message)

    async def _send_once(self, name: str, principal: Principal, data: Any, claim: Claim) -> tuple[EncodedEntry, bool]:
        sent = await self._engine.send(name, encode_body(principal, data), claim)
        return encode_message(name, *sent.message), sent.is_replay

    def _make_space(self) -> None:
        """Give up copies of rooms without readers, then the history of those that were silent longest, until the rest fits."""
        held = sum(room.ring.bytes for room in self._rooms.values())
        for room in sorted(
            self._rooms.values(), key=lambda room: (not room.is_deserted, room.times[-1] if room.times else 0.0)
        ):
            if held <= _MOST_BYTES:
                return
            held -= room.ring.bytes
            if room.is_deserted:
                self._drop(room)
            else:
                room.ring.clear()

    def _drop(self, room: SharedRoom) -> None:
        room.presence.close()
        if self._rooms.pop(room.name, None) is room:
            self._engine.detach(room.name)
