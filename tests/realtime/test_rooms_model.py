"""Rooms under random operations: the counters match the contents, and no member is left in a room that is gone."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest

from service.domain.rooms.rules import RoomRules
from service.realtime.reader import LimitedReader, Reader
from service.realtime.rooms import memory_rooms as module
from service.realtime.rooms.memory_rooms import MemoryRoom, MemoryRooms
from service.realtime.rooms.room import ALL, MESSAGES
from service.security.authenticator import Principal
from tests.support.clock import ManualClock
from tests.support.streams import FakeStream, a_principal
from tests.support.wait import until

_MOST_BYTES: Final = 200_000
_MOST_EMPTY: Final = 10
_STEPS: Final = 300


class World:
    """Users that enter and leave, visitors that read, stall and go, and messages of every size."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.clock = ManualClock()
        self.rooms = MemoryRooms(
            self.clock,
            RoomRules({}),
            history=chance.choice((0, 1, 5, 50)),
            history_s=chance.choice((1, 20)),
            batch_s=0.001,
            grace_s=chance.choice((0, 0.002)),
        )
        self.names = [f"room{number}" for number in range(20)]
        self.users = [a_principal() for _ in range(5)]
        self.members: list[tuple[MemoryRoom, Principal]] = []
        self.visitors: list[tuple[MemoryRoom, Reader, FakeStream]] = []
        self.seen: list[MemoryRoom] = []

    async def step(self) -> None:
        """One thing happens, whichever."""
        acts = (
            self._enter,
            self._leave,
            self._visit,
            self._depart,
            self._send,
            self._send,
            self._send,
            self._pass_time,
        )
        await self.chance.choice(acts)()
        for _, reader, stream in self.visitors:
            if self.chance.random() < 0.1:
                stream.read()
            if not reader.live and self.chance.random() < 0.3:
                await reader.step()

    async def end(self) -> None:
        """Everybody goes."""
        while self.members:
            await self._leave()
        while self.visitors:
            await self._depart()

    def check(self) -> None:
        rooms = self.rooms
        kept, empty = rooms._rooms, rooms._empty
        assert rooms._bytes == sum(room.ring.bytes for room in kept.values()) <= _MOST_BYTES
        assert len(empty) <= _MOST_EMPTY
        assert {name: room for name, room in kept.items() if room.is_deserted} == empty
        assert all(room.times for room in empty.values())
        used = [room for room, _ in self.members] + [room for room, _, _ in self.visitors]
        assert all(kept[room.name] is room for room in used), "dropped with a member in it"

    async def _enter(self) -> None:
        user = self.chance.choice(self.users)
        self.members.append((await self.rooms.enter(self.chance.choice(self.names), user), user))

    async def _leave(self) -> None:
        if self.members:
            self.rooms.leave(*self.members.pop(self.chance.randrange(len(self.members))))

    async def _visit(self) -> None:
        stream = FakeStream(full_bytes=self.chance.choice((2_000, 65_536)))
        room = await self.rooms.add_listener(self.chance.choice(self.names), stream.principal)
        place = self.chance.choice((room.ring.head, room.oldest))
        reader: Reader
        if self.chance.random() < 0.7:
            reader = Reader(room, stream, self.chance.choice((ALL, MESSAGES)), place, lambda: None)
        else:
            reader = LimitedReader(room, stream, MESSAGES, place, lambda: None, 1_000_000)
        stream.readers.append(reader)
        self.visitors.append((room, reader, stream))
        self.seen.append(room)
        await reader.step()

    async def _depart(self) -> None:
        if self.visitors:
            room, reader, stream = self.visitors.pop(self.chance.randrange(len(self.visitors)))
            reader.close()
            if self.chance.random() < 0.5:  # once more, as an end and a departure in one turn do
                stream.close()
                room.detach(reader)
            self.rooms.remove_listener(room)

    async def _send(self) -> None:
        name, data = self.chance.choice(self.names), "x" * self.chance.choice((1, 1_000, 30_000))
        await self.rooms.send(name, self.chance.choice(self.users), data)

    async def _pass_time(self) -> None:
        self.clock.advance(self.chance.random() * 10)
        self.rooms.sweep()
        self.check()
        await asyncio.sleep(self.chance.choice((0, 0.003)))


@pytest.mark.parametrize("seed", range(12))
async def test_rooms_count_what_is_there(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and empty rooms stay within their bounds and match the counters; a room with a member is the
    room of its name; when all have gone and history is old, nothing is left."""
    monkeypatch.setattr(module, "_MOST_BYTES", _MOST_BYTES)
    monkeypatch.setattr(module, "_MOST_EMPTY", _MOST_EMPTY)
    world = World(seed)
    for _ in range(_STEPS):
        await world.step()
        world.check()
    await world.end()
    world.clock.advance(1_000)

    def swept() -> bool:
        world.rooms.sweep()
        return not len(world.rooms)

    await until(swept)
    assert world.rooms._bytes == 0
    for room in world.seen:
        assert not list(room.live_readers())
    await world.rooms.close()
