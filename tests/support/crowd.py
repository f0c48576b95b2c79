"""Thousands of readers of the deployed service, and a writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from tests.support.gunicorn import Gunicorn, gunicorn
from tests.support.readers import KINDS, Reader, seq_of
from tests.support.server import Login, Server

READERS: Final = 2_000  # half over SSE, half over WebSocket
MEMBERS: Final = 50
FEW: Final = 10  # where there are fewer readers; each costs two hashes
WRITES_PER_S: Final = 20

# As it is shipped, but for limits that one address and a few users would meet.
SETTINGS: Final = {
    "ROSTER_MAX_CONNECTIONS_PER_USER": "0",
    "ROSTER_RATE_LIMIT": "off",
    "ROSTER_REGISTRATION_LIMIT": "off",
    "ROSTER_WRITE_LIMIT": "off",
    "ROSTER_WS_MESSAGES_PER_S": "0",
    "ROSTER_DRAIN_SPREAD_S": "2",
    "ROSTER_SHUTDOWN_TIMEOUT_S": "5",
}


class Lags:
    """How long it takes from a request to what readers get of it."""

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self._seconds: list[float] = []

    def begin(self, seq: int) -> None:
        self._begun[seq] = asyncio.get_running_loop().time()

    def end(self, seq: int) -> None:
        begun = self._begun.get(seq)
        if begun is not None:
            self._seconds.append(asyncio.get_running_loop().time() - begun)

    def take(self) -> tuple[float, float, float]:
        """Median, 99th percentile and longest of those since the last call, in milliseconds."""
        found, self._seconds = sorted(self._seconds), []
        return tuple(1_000 * found[int(share * (len(found) - 1))] for share in (0.5, 0.99, 1))  # type: ignore[return-value]  # three of them


@dataclass(slots=True)
class Written:
    """The outcome of writes that were repeated until they were accepted.

    Attributes:
        versions: of those that were answered, with what was written.
        failures: what was answered else.
        longest_s: from the first sending of one to its answer.
    """

    versions: dict[int, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0


class Crowd:
    """Readers of the feed, half of them an administrator's and half members', and a writer."""

    def __init__(self, server: Server, admin: Login, members: list[Login], readers: int) -> None:
        self.server = server
        self.admin = admin
        self.members = members
        self.lags = Lags()
        self.readers = [
            Reader(server.port, admin, kind, all_events=True)
            if number % 2
            else Reader(server.port, members[number % len(members)], kind, all_events=False)
            for kind in KINDS
            for number in range(readers // 2)
        ]

    async def open(self) -> float:
        """Have all connect, two hundred at once; how long that took, in seconds."""
        began = asyncio.get_running_loop().time()
        gate = asyncio.Semaphore(200)

        async def enter(reader: Reader) -> None:
            async with gate:
                await reader.open()

        await asyncio.gather(*(enter(reader) for reader in self.readers))
        return asyncio.get_running_loop().time() - began

    async def write(self, seconds: float) -> int:
        """Change users at an even pace; the seq of the last event."""
        loop = asyncio.get_running_loop()
        begin, seq = loop.time(), seq_of(max((reader.place for reader in self.readers), key=seq_of))
        for number in range(int(seconds * WRITES_PER_S)):
            await asyncio.sleep(begin + number / WRITES_PER_S - loop.time())
            member = self.members[number % len(self.members)]
            self.lags.begin(seq + 1)
            user = await self.server.json("PATCH", f"/v1/users/{member.id}", member, json={"name": f"name {number}"})
            seq = user["version"]
        return seq

    async def write_through(self, stop: asyncio.Event) -> Written:
        """Change users at an even pace until stopped, each again until it is answered 200."""
        loop, written = asyncio.get_running_loop(), Written()
        begin, number = loop.time(), 0
        while not stop.is_set():
            number += 1
            await asyncio.sleep(begin + number / WRITES_PER_S - loop.time())
            member, asked_at = self.members[number % len(self.members)], loop.time()
            while True:
                try:
                    async with self.server.request(
                        "PATCH", f"/v1/users/{member.id}", member, json={"name": f"name {number}"}
                    ) as answer:
                        if answer.status == 200:
                            written.versions[(await answer.json())["version"]] = f"name {number}"
                            break
                        failure = f"{answer.status} {await answer.text()}"
                except aiohttp.ClientError as error:
                    failure = repr(error)
                written.failures.append(failure)
                await asyncio.sleep(0.05)
            written.longest_s = max(written.longest_s, loop.time() - asked_at)
        return written

    async def expected(self, begin: int) -> dict[str, list[int]]:
        """The events after a seq: for each user the seqs that it may see."""
        found: dict[str, list[int]] = {user.id: [] for user in (self.admin, *self.members)}
        after: str | None = f"{self.readers[0].place.rpartition('-')[0]}-{begin}"
        while after:
            page = await self.server.json("GET", "/v1/events", self.admin, params={"after": after, "limit": "100"})
            for event in page["items"]:
                for user_id in {self.admin.id, event["subject"]}:
                    found[user_id].append(seq_of(event["id"]))
            after = page["next"]
        return found

    def leave(self) -> None:
        for reader in self.readers:
            reader.drop(how="goodbye")


@asynccontextmanager
async def crowd(readers: int = READERS, **settings: str) -> AsyncIterator[tuple[Gunicorn, Crowd]]:
    async with gunicorn(**{**SETTINGS, **settings}) as service:
        server = service.server
        admin, members = (
            await server.admin(),
            [await server.member() for _ in range(MEMBERS if readers == READERS else FEW)],
        )
        people = Crowd(server, admin, members, readers)
        try:
            yield service, people
        finally:
            people.leave()
