"""A subscriber that keeps what an engine passes on, and judges it as a room would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from service.domain.events.position import Position
from service.realtime.engine import Member, PresenceChange, RoomMessage, RoomState
from service.realtime.redis.engine import RedisEngine, RoomLimits
from tests.support.wait import until

LIMITS = RoomLimits(history=100, history_s=3600, grace_s=0.2)


class Follower:
    """Keeps what it was passed.

    Attributes:
        messages: of the current epoch, without gaps.
        resets: why it had to begin again: `epoch` or `trimmed`.
    """

    def __init__(self) -> None:
        self.head: Position | None = None
        self.messages: list[RoomMessage] = []
        self.resets: list[str] = []
        self.members: dict[UUID, Member] = {}
        self.count = 0
        self.joins: list[UUID] = []
        self.leaves: list[UUID] = []

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]

    def on_state(self, state: RoomState) -> None:
        if self.head is None:
            self.messages = list(state.messages)
        elif state.head.epoch != self.head.epoch:
            self.resets.append("epoch")
            self.messages = list(state.messages)
        else:
            missed = [message for message in state.messages if message.position.seq > self.head.seq]
            if state.head.seq > self.head.seq and (not missed or missed[0].position.seq != self.head.seq + 1):
                self.resets.append("trimmed")
                self.messages = []
            self.messages += missed
        self.head = state.head
        self.count = state.count
        self.members = dict(state.members or {})

    def on_message(self, message: RoomMessage) -> None:
        assert self.head is not None
        assert message.position == (self.head.epoch, self.head.seq + 1)
        self.head = message.position
        self.messages.append(message)

    def on_presence(self, change: PresenceChange) -> None:
        self.count = change.members
        if change.joined is not None:
            self.members[change.joined.id] = change.joined
            self.joins.append(change.joined.id)
        if change.left is not None:
            self.members.pop(change.left, None)
            self.leaves.append(change.left)


@asynccontextmanager
async def redis_engine(url: str, limits: RoomLimits = LIMITS) -> AsyncIterator[RedisEngine]:
    """An engine that is connected."""
    engine = RedisEngine(url, None, limits)
    await engine.open()
    try:
        await until(lambda: engine.is_ready)
        yield engine
    finally:
        await engine.close()
