"""Readers of one room, and a sender that repeats each message until it is answered."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.support.readers import KINDS, Reader
from tests.support.server import Login, Server

ROOM = "lobby"
_SENDS_PER_S = 20


class Talk:
    """A room with half of its readers over WebSocket, and the ids of the messages that were acknowledged."""

    def __init__(self, server: Server, sender: Login, members: list[Login], readers: int) -> None:
        self.sent: dict[str, int] = {}
        self._server = server
        self._sender = sender
        self.readers = [
            Reader(server.port, members[number % len(members)], kind, all_events=True, room=ROOM)
            for kind in KINDS
            for number in range(readers // 2)
        ]

    async def open(self) -> None:
        await self.send(0)
        await asyncio.gather(*(reader.open() for reader in self.readers))

    async def send_through(self, stop: asyncio.Event) -> None:
        """Send at an even pace until stopped."""
        loop = asyncio.get_running_loop()
        begin, number = loop.time(), 0
        while not stop.is_set():
            number += 1
            await asyncio.sleep(begin + number / _SENDS_PER_S - loop.time())
            await self.send(number)

    async def send(self, number: int) -> None:
        """Send one message, again with the same key until it is acknowledged."""
        while True:
            try:
                async with self._server.request(
                    "POST",
                    f"/v1/rooms/{ROOM}/messages",
                    self._sender,
                    json={"data": number},
                    headers={"Idempotency-Key": f"message-{number}"},
                ) as answer:
                    if answer.status == 201:
                        position = (await answer.json())["id"]
                        assert position not in self.sent, "two messages have one position"
                        self.sent[position] = number
                        return
                    assert answer.status == 503, f"{answer.status} {await answer.text()}"
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)

    def leave(self) -> None:
        for reader in self.readers:
            reader.drop(how="goodbye")
