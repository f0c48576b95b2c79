"""One room that this process reads, and how its copy is kept equal to the one in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from service.domain.errors import Unavailable
from service.domain.events.position import Position
from service.realtime.engine import RoomMessage, RoomSubscriber
from service.realtime.redis.wire import PublishedMessage, PublishedPresence, read_state

Published = PublishedMessage | PublishedPresence


class Attachment:
    """Passes on what is published to a room, in order and without gaps.

    While the state is being read, what is published waits; it is passed on afterwards, except what the state contains. A gap,
    another epoch or an unknown change of presence has the state read again.

    Args:
        read: reads the state after a position; the answer of the script.
        start: runs a coroutine as a task that the engine owns.
    """

    def __init__(
        self,
        subscriber: RoomSubscriber,
        read: Callable[[Position], Awaitable[Any]],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._subscriber = subscriber
        self._read = read
        self._start = start
        self._head = Position("", 0)  # the epoch is empty until a state was read
        self._presence_number = 0
        self._waiting: list[Published] = []
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False

    def on_published(self, published: Published) -> None:
        if not self._head.epoch or self._reading is not None:
            self._waiting.append(published)
        elif not self._pass_on(published):
            self._waiting.append(published)
            self.compare()

    def on_sent(self, message: RoomMessage) -> None:
        """Pass on a message that this process sent, if it is the next one: it is known before it is published to this process.

        A member that leaves right after its own message has received it then. If other messages come before it, it waits for its turn.
        """
        if self._reading is None and message.position == (self._head.epoch, self._head.seq + 1):
            self._head = message.position
            self._subscriber.on_message(message)

    def on_state(self, answer: Any, older: int = 0) -> None:
        """Take a state that was read, then what was published meanwhile.

        Args:
            older: how many of those that wait were published before the reading began. The state contains them, if they are not
                of an epoch that is over.
        """
        state, self._presence_number = read_state(answer)
        self._head = state.head
        self._subscriber.on_state(state)
        waiting, self._waiting = self._waiting, []
        for place, published in enumerate(waiting):
            if not self._pass_on(published) and place >= older:
                self._waiting = waiting[place:]
                self.compare()
                return

    def compare(self) -> None:
        """Read the state again, because something may have been lost."""
        if self._reading is None:
            self._reading = self._start(self._compare())
        else:
            self._read_again = True

    def cancel(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _compare(self) -> None:
        try:
            while True:
                self._read_again = False
                older = len(self._waiting)
                self.on_state(await self._read(self._head), older)
                if not self._read_again:
                    return
        except Unavailable:
            pass  # every new connection compares
        finally:
            self._reading = None

    def _pass_on(self, published: Published) -> bool:
        """Whether it was the next one, or one that is known; False where something is missing before it."""
        if isinstance(published, PublishedPresence):
            if published.number <= self._presence_number:
                return True
            if published.number != self._presence_number + 1:
                return False
            self._presence_number = published.number
            self._subscriber.on_presence(published.change)
            return True
        position = published.message.position
        if position.epoch != self._head.epoch:
            return False
        if position.seq <= self._head.seq:
            return True
        if position.seq != self._head.seq + 1:
            return False
        self._head = position
        self._subscriber.on_message(published.message)
        return True
