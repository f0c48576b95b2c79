"""Kill the service at random moments while it is written to, and look at what is left."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp

from tests.support.forked import Forked
from tests.support.gunicorn import start
from tests.support.ports import free_port
from tests.support.postgres import postgres, processes
from tests.support.readers import seq_of
from tests.support.server import ADMIN_PASSWORD
from tests.support.wait import until

_READY_S: Final = 30.0
_ROUND_S: Final = 60.0
_WRITERS: Final = 16
_SETTINGS: Final = {
    "ROSTER_RATE_LIMIT": "off",
    "ROSTER_LOGIN_LIMIT": "off",
    "ROSTER_WRITE_LIMIT": "off",
    "ROSTER_DRAIN_SPREAD_S": "0",
}

Json = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """The observations of one store's life from outside.

    Attributes:
        answered: the user in each 2xx, by its version.
        unsure: how many writes were not answered.
        events: what a reader was sent that came back from its place each time: its seqs and data, in that order.
        connections: how often it came back.
    """

    answered: dict[int, Json] = field(default_factory=dict)
    unsure: int = 0
    events: list[tuple[int, Json]] = field(default_factory=list)
    connections: int = 0


class Crashing:
    """One store under one service after the other.

    Args:
        url: of the store.
        disturb: called instead of killing the service, now and then; None where nothing else can be killed.
    """

    def __init__(self, url: str, chance: random.Random, disturb: Callable[[], Awaitable[None]] | None = None) -> None:
        self.seen = Seen()
        self.port = free_port()
        self._url = url
        self._chance = chance
        self._disturb = disturb
        self._number = 0
        self._token = ""
        self._position = ""

    async def round(self, writes: int) -> None:
        """Serve, have so many writes sent, and kill at a random moment of that."""
        async with self._served() as process, self._session() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(session))
            sending = tasks.create_task(self._write(session, writes))
            done = self._chance.randrange(1, writes)
            before = len(self.seen.answered)
            await until(lambda: len(self.seen.answered) - before >= done or sending.done(), timeout=_ROUND_S)
            if self._disturb is not None and self._chance.random() < 0.4:
                await self._disturb()
                await sending
            process.kill()

    async def settle(self) -> list[Json]:
        """Serve once more, until the reader has read to the end; the users that are there."""
        async with self._served(), self._session() as session:
            reading = asyncio.create_task(self._read(session))
            async with session.get("/v1/users/me") as answer:
                head = seq_of(answer.headers["Roster-Position"])
            await until(lambda: self.seen.events and self.seen.events[-1][0] >= head, timeout=_READY_S)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            users: list[Json] = []
            page: str | None = "/v1/users?limit=100"
            while page:
                async with session.get(page) as answer:
                    found = await answer.json()
                users += found["items"]
                page = f"/v1/users?limit=100&cursor={found['next']}" if found["next"] else None
            return users

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[Forked]:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stderr:
            process = await start(
                *("-m", "service"), folder=folder, stderr=stderr,
                ROSTER_STORE_URL=self._url, **{**_SETTINGS, "ROSTER_PORT": str(self.port)},
            )  # fmt: skip
            try:
                await self._enter(process)
                yield process
            finally:
                process.kill()
                await process.wait()

    async def _enter(self, process: Forked) -> None:
        """Wait until it serves, and log in where that was not done yet: a token outlives the process."""
        async with asyncio.timeout(_READY_S), aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as session:
            while True:
                assert process.returncode is None, "it ended by itself"
                with suppress(aiohttp.ClientError):
                    async with session.get("/health/ready") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.02)
            if not self._token:
                login = {"login": "admin", "password": ADMIN_PASSWORD}
                async with session.post("/v1/auth/login", json=login) as answer:
                    self._token = (await answer.json())["access_token"]

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self._token}"},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(30),
        )

    async def _write(self, session: aiohttp.ClientSession, count: int) -> None:
        """Create users and rename them, several at once, until all was sent or the service is down."""
        left = iter(range(count))
        gone = asyncio.Event()

        async def one(method: str, path: str, body: Json) -> Json | None:
            try:
                async with session.request(method, path, json=body) as answer:
                    user: Json = await answer.json()
                    if answer.status in (200, 201):
                        self.seen.answered[user["version"]] = user
                        return user
                    assert answer.status == 503, f"{method} {path}: {answer.status} {user}"
            except aiohttp.ClientConnectorError:
                gone.set()
            except aiohttp.ClientError:
                pass
            self.seen.unsure += 1
            return None

        async def send() -> None:
            mine: Json | None = None
            for _ in left:
                if gone.is_set():
                    return
                self._number += 1
                number = self._number
                if mine is None or number % 3 == 0:
                    made = {"username": f"made{number}", "email": f"made{number}@example.com"}
                    mine = await one("POST", "/v1/users", made)
                else:
                    await one("PATCH", f"/v1/users/{mine['id']}", {"name": f"name {number}"})

        await asyncio.gather(*(send() for _ in range(_WRITERS)))

    async def _read(self, session: aiohttp.ClientSession) -> None:
        """Follow the feed from the last position, over one connection after the other, until the service is down."""
        while True:
            place = {"Last-Event-ID": self._position} if self._position else {}
            params = {} if self._position else {"after": "0"}
            try:
                async with session.get(
                    "/v1/feed", headers=place, params=params, timeout=aiohttp.ClientTimeout(None)
                ) as answer:
                    self.seen.connections += 1
                    buffer = b""
                    async for piece in answer.content.iter_any():
                        *blocks, buffer = (buffer + piece).split(b"\n\n")
                        for block in blocks:
                            self._take(block)
            except aiohttp.ClientConnectorError:
                return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.01)

    def _take(self, block: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        event = fields.get(b"event", b"")
        assert event != b"reset", block
        if b"id" in fields:
            self._position = fields[b"id"].decode()
        if event.startswith((b"user.", b"session.")):
            self.seen.events.append((seq_of(self._position), json.loads(fields[b"data"])))


class Run(Protocol):
    """So many rounds on a store of one kind; `tell` takes a line with figures."""

    def __call__(
        self, folder: Path, chance: random.Random, *, rounds: int, writes: int, tell: Callable[[str], None]
    ) -> Awaitable[None]: ...


async def on_sqlite(
    folder: Path, chance: random.Random, *, rounds: int, writes: int, tell: Callable[[str], None]
) -> None:
    path = folder / "roster.db"
    await _run(Crashing(f"sqlite:///{path}", chance), rounds, writes, tell)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def on_postgres(
    folder: Path, chance: random.Random, *, rounds: int, writes: int, tell: Callable[[str], None]
) -> None:
    """Now and then it is a process of the server that is killed: then the server ends all others and recovers."""
    with postgres(lasting=True) as url:

        async def disturb() -> None:
            _, *others = await processes(url)
            os.kill(chance.choice(others), signal.SIGKILL)

        await _run(Crashing(url, chance, disturb), rounds, writes, tell)


async def _run(crashing: Crashing, rounds: int, writes: int, tell: Callable[[str], None]) -> None:
    for _ in range(rounds):
        await crashing.round(writes)
    users = await crashing.settle()
    seen = crashing.seen
    check(seen, users)
    tell(
        f"{rounds} rounds: {len(seen.answered):,} writes answered, {seen.unsure:,} not; {len(seen.events):,} events taken "
        f"over {seen.connections} connections, {len(seen.events) - len({seq for seq, _ in seen.events})} of them again"
    )


def check(seen: Seen, users: list[Json]) -> None:
    """Everything that was answered is there and was delivered, in order; and nothing is there by half."""
    seqs = [seq for seq, _ in seen.events]
    # At least once, in order: what is sent again begins at the place that the reader named, and goes on from there.
    assert sorted(set(seqs)) == list(range(1, max(seqs) + 1))
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(seqs))
    told: dict[int, Json] = {}
    for seq, event in seen.events:
        assert told.setdefault(seq, event) == event, "an event that changed"
    for version, user in seen.answered.items():
        assert told[version]["user"] == user, "a write that was answered, and its event"
    last = {event["subject"]: event["user"] for _, event in sorted(told.items()) if event["type"].startswith("user.")}
    assert {user["id"]: user for user in users} == last, "the users, and their events"
