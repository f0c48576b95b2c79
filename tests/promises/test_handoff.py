"""Promise: nothing is lost, repeated or out of order at the moment in which a reader is done with the past and goes live.

Places close to the head bring that moment at once, and writes that never stop have something happen in it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID

import pytest

from service.domain.ports import Transaction
from service.domain.users.user import User
from service.http.services import SERVICES
from tests.support.domain import BY, a_user, keep, updated
from tests.support.drawn import repetitions
from tests.support.readers import Kind, Reader, seq_of
from tests.support.server import Login, Server
from tests.support.wait import until
from tests.support.ws import Client, connect

AT_ONCE: Final = 16
TIMES: Final = repetitions(50, 20)  # that each of them goes live


async def over_and_over(act: Callable[..., Awaitable[None]], *args: object) -> None:
    for _ in range(TIMES):
        await act(*args)


class Writer:
    """Writes as fast as the store takes it, in uneven pieces, about `ada` and about another user."""

    def __init__(self, server: Server, ada: User, chance: random.Random) -> None:
        self.about_ada: list[int] = []
        self._store = server.app[SERVICES].store
        self._epoch = server.app[SERVICES].hub.epoch
        self._head = 0
        self._ada = ada
        self._chance = chance

    async def run(self) -> None:
        """Write until cancelled."""
        other = a_user()
        await keep(self._store, other)
        while True:
            for _ in range(self._chance.randint(1, 4)):
                await self._write(self._chance.choice((self._ada, other, other)))
            for _ in range(self._chance.randint(1, 8)):
                await asyncio.sleep(0)

    async def _write(self, user: User) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.events.append(updated(user, "name"))

        (event,) = (await self._store.write(work, BY)).events
        self._head = event.seq
        if user is self._ada:
            self.about_ada.append(event.seq)

    def place(self) -> tuple[int, str]:
        """At the head of the store, which readers have not received yet, or just before it: its seq, and as text."""
        seq = self._head - self._chance.choice((0, 0, 0, 1, 1, 2, 3))
        return seq, f"{self._epoch}-{seq}"

    def behind(self, seq: int, until_seq: int, *, about_ada: bool) -> list[int]:
        """The events that a reader must see after that position, up to another."""
        if about_ada:
            return [about for about in self.about_ada if seq < about <= until_seq]
        return list(range(seq + 1, until_seq + 1))


@asynccontextmanager
async def writing(server: Server, ada: Login, chance: random.Random) -> AsyncIterator[Writer]:
    """Write until the end of the block."""
    user = (await server.app[SERVICES].store.users.find(UUID(ada.id))).value
    assert user is not None
    writer = Writer(server, user, chance)
    task = asyncio.create_task(writer.run(), name="write without end")
    await until(lambda: writer.about_ada)
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait((task,))


@pytest.mark.drawn
@pytest.mark.parametrize("kind", ["feed", "websocket"])
@pytest.mark.parametrize("who", ["admin", "member"])
async def test_readers_that_open_at_the_head_during_writes_see_every_event_behind_their_place(
    server: Server, chance: random.Random, kind: Kind, who: str
) -> None:
    """Sixteen at once, hundreds in all, while events come without end: each sees the events after its position, all of
    it, once, in order."""
    admin, ada = await server.admin(), await server.member()
    by = admin if who == "admin" else ada
    async with writing(server, ada, chance) as writer:

        async def read() -> None:
            seq, place = writer.place()
            reader = Reader(server.port, by, kind, all_events=by is admin)
            await reader.open(place)
            await until(lambda: len(reader.taken) >= 3)
            reader.drop(how="vanish")
            assert reader.taken == writer.behind(seq, reader.taken[-1], about_ada=by is ada)
            assert (reader.faults, reader.resets, reader.refused) == ([], [], 0)

        await asyncio.gather(*(over_and_over(read) for _ in range(AT_ONCE)))
    await until(lambda: not len(server.app[SERVICES].connections))


@pytest.mark.drawn
@pytest.mark.parametrize("who", ["admin", "member"])
async def test_subscriptions_that_replace_each_other_during_writes_lose_and_repeat_nothing(
    server: Server, chance: random.Random, who: str
) -> None:
    """A socket that subscribes repeatedly receives after each `subscribed` the events after the position that it names,
    and nothing of the subscription before."""
    admin, ada = await server.admin(), await server.member()
    by = admin if who == "admin" else ada
    async with writing(server, ada, chance) as writer, AsyncExitStack() as stack:

        async def read(client: Client) -> None:
            seq, place = writer.place()
            assert await client.ask("subscribe", after=place) == {"type": "subscribed", "position": place}
            client.forget()  # what came before the answer
            seen = [seq_of((await client.expect("event"))["event"]["id"]) for _ in range(chance.randint(1, 3))]
            assert seen == writer.behind(seq, seen[-1], about_ada=by is ada)

        clients = [await stack.enter_async_context(connect(server, by)) for _ in range(AT_ONCE)]
        await asyncio.gather(*(over_and_over(read, client) for client in clients))


class Speaker:
    """Sends to the room without end, in uneven pieces.

    Attributes:
        sent: seq of the newest message whose sending was confirmed, and `begun` of the newest that was sent.
    """

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.sent = self.begun = 0
        self.epoch = ""
        self._client = client
        self._chance = chance

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            for _ in range(self._chance.randint(0, 3)):
                self.begun += 1
                await self._client.send("broadcast", room="lobby", data=self.begun)
            self.begun += 1
            answer = await self._client.ask("broadcast", room="lobby", data=self.begun)
            self.sent = seq_of(answer["id"])
            self.epoch = answer["id"].rpartition("-")[0]
            self._client.forget()


@asynccontextmanager
async def speaking(server: Server, chance: random.Random) -> AsyncIterator[Speaker]:
    """Send to the lobby until the end of the block."""
    async with connect(server, await server.member()) as client:
        await client.ask("join", room="lobby")
        speaker = Speaker(client, chance)
        task = asyncio.create_task(speaker.run(), name="speak without end")
        await until(lambda: speaker.sent > 10)
        try:
            yield speaker
        finally:
            task.cancel()
            await asyncio.wait((task,))


@pytest.mark.drawn
@pytest.mark.parametrize("how", ["after", "history"])
async def test_members_that_join_while_another_speaks_hear_every_message_behind_their_place(
    server: Server, chance: random.Random, how: str
) -> None:
    """A socket that leaves and joins repeatedly receives after each `joined` the messages after the position that it
    names, which is `after`, or as far back as the `history` that was asked for."""
    ada = await server.member()
    async with speaking(server, chance) as speaker, AsyncExitStack() as stack:

        async def join(client: Client) -> None:
            back, before = chance.choice((0, 0, 0, 1, 1, 2, 3)), speaker.sent
            if how == "after":
                joined = await client.ask("join", room="lobby", after=f"{speaker.epoch}-{before - back}")
                assert seq_of(joined["position"]) == before - back
            else:
                joined = await client.ask("join", room="lobby", history=back)
                assert before <= seq_of(joined["position"]) + back <= speaker.begun
            assert joined["recovered"]
            client.forget()
            heard = [seq_of((await client.until("message"))["id"]) for _ in range(chance.randint(1, 4))]
            begin = seq_of(joined["position"])
            assert heard == list(range(begin + 1, begin + 1 + len(heard)))
            assert (await client.ask("leave", room="lobby"))["type"] == "left"
            client.forget()

        clients = [await stack.enter_async_context(connect(server, ada)) for _ in range(AT_ONCE)]
        await asyncio.gather(*(over_and_over(join, client) for client in clients))


@pytest.mark.drawn
async def test_readers_of_a_room_that_open_while_another_speaks_see_every_message_behind_their_place(
    server: Server, chance: random.Random
) -> None:
    """Event streams of a room, at or just before its head: all of it, once, in order."""
    ada = await server.member()
    async with speaking(server, chance) as speaker:

        async def read() -> None:
            begin = speaker.sent - chance.choice((0, 0, 0, 1, 1, 2, 3))
            reader = Reader(server.port, ada, "feed", all_events=True, room="lobby")
            await reader.open(f"{speaker.epoch}-{begin}")
            await until(lambda: len(reader.taken) >= 3)
            reader.drop(how="vanish")
            assert reader.taken == list(range(begin + 1, begin + 1 + len(reader.taken)))
            assert (reader.faults, reader.resets, reader.refused) == ([], [], 0)

        await asyncio.gather(*(over_and_over(read) for _ in range(AT_ONCE)))
    await until(lambda: not len(server.app[SERVICES].connections))
