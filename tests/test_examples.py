"""The clients of `examples/` through a restart after which their access tokens are no longer valid."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import AsyncExitStack
from typing import Final

import pytest

from service.app import now
from service.http.services import SERVICES
from service.store.memory.store import MemoryStore
from tests.support.examples import EXAMPLES, run_example
from tests.support.hosts import host
from tests.support.server import Login, Server

# With another key no access token of before is valid: a restart is also the end of their life.
OTHER_KEY: Final = "another secret of tests, of 32 bytes at least"
# The waits of `websockets` between two attempts are meant for the internet.
SOON: Final = {f"WEBSOCKETS_BACKOFF_{name}_DELAY": "0.2" for name in ("INITIAL", "MIN", "MAX")}


async def rename(server: Server, user: Login, name: str) -> None:
    await server.json("PATCH", f"/v1/users/{user.id}", user, json={"name": name})


def name_in(line: str) -> str:
    """The name of the user in an event that an example has printed."""
    name: str = json.loads(line.split(" ", 2)[2])["user"]["name"]
    return name


async def follow_feed_through_a_restart(*command: str, until_logged_out: bool) -> None:
    """Every event arrives once and in order, those from while Roster was away as well.

    Args:
        until_logged_out: whether to wait until the end of the session ends the program, too.
    """
    store = MemoryStore(now)
    async with host(store) as elsewhere, AsyncExitStack() as life:
        first = await life.enter_async_context(host(store))
        ada = await elsewhere.member("ada")
        async with run_example(first, "ada", *command) as example:
            await example.until("hello ")
            await rename(elsewhere, ada, "before")
            await example.until("user.updated ")
            await life.aclose()
            await rename(elsewhere, ada, "away")
            async with host(store, first.port, jwt_secret=OTHER_KEY):
                await example.until("hello ")
                await rename(elsewhere, ada, "after")
                await example.until("user.updated ")
                await example.until("user.updated ")
                names = [name_in(line) for line in example.lines if line.startswith("user.updated ")]
                assert names == ["before", "away", "after"]
                if not until_logged_out:
                    return
                await elsewhere.json("DELETE", "/v1/auth/sessions", ada, status=204)
                code, stderr = await example.exit()
                assert (code, "the session has ended; log in again" in stderr) == (1, True), stderr


async def test_httpx_sse_follows_the_feed() -> None:
    """The example for httpx-sse resumes after a restart, refreshes its token, and loses nothing; it ends with the session."""
    await follow_feed_through_a_restart(sys.executable, "feed_httpx_sse.py", until_logged_out=True)


@pytest.mark.skipif(
    shutil.which("node") is None or not (EXAMPLES / "node_modules").is_dir(),
    reason="needs node, and `npm ci --prefix examples`",
)
async def test_node_follows_the_feed() -> None:
    """The example for Node resumes after a restart, refreshes its token, and loses nothing."""
    await follow_feed_through_a_restart("node", "feed_node.mjs", until_logged_out=False)


async def test_websockets_reads_a_room() -> None:
    """The example for `websockets` catches up after a cut, and after a restart it says what was lost and reads on."""
    store = MemoryStore(now)
    async with host(store) as elsewhere, AsyncExitStack() as life:
        first = await life.enter_async_context(host(store))
        await elsewhere.member("ada")
        bob = await elsewhere.member("bob")

        async def send(server: Server, text: str) -> None:
            await server.json("POST", "/v1/rooms/tea/messages", bob, status=201, json={"data": text})

        async with run_example(
            first, "ada", sys.executable, "room_websockets.py", "tea", "from ada", **SOON
        ) as example:
            assert await example.next() == "joined"
            assert await example.next() == 'message ada "from ada"'
            for connection in first.app[SERVICES].connections:
                connection.abort()
            await send(first, "while it was cut")
            assert await example.until("message ") == 'message bob "while it was cut"'

            await life.aclose()
            async with host(store, first.port, jwt_secret=OTHER_KEY) as second:
                assert await example.until("reset") == "reset epoch"
                assert await example.next() == "joined"
                bob = await second.log_in("bob")
                await send(second, "after")
                assert await example.next() == 'message bob "after"'
