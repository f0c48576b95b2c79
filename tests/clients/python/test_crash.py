"""A reader that is killed continues from its file, and loses no event."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from roster_client import AsyncRoster, Login

from tests.support.server import PASSWORD, Server
from tests.support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

READER = """
import asyncio, sys
from roster_client import ApiToken, AsyncRoster, FilePosition

async def main(url, token, position, done):
    async with AsyncRoster(url, ApiToken(token)) as roster:
        async for event in roster.feed(FilePosition(position, first="0"), types={"user.updated"}):
            with open(done, "a") as file:
                file.write(event.id + "\\n")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_reader_handles_each_event_at_least_once(server: Server, tmp_path: Path) -> None:
    """Over kills with signal 9 every event is handled, in order, and at most one is repeated for each kill."""
    await server.member("ada")
    done = tmp_path / "done"
    done.touch()
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        me = await roster.me()
        token = (await roster.tokens.create("reader", ["events:read"])).token
        arguments = (server.url, token, str(tmp_path / "position"), str(done))
        expected: list[str] = []
        for _ in range(3):
            for _ in range(20):
                me = await roster.users.update(me, age=(me.age or 0) + 1)
                assert me.etag
                expected.append(me.etag.strip('"'))
            reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READER, *arguments, env=os.environ)
            last = expected[-10] if len(expected) < 60 else expected[-1]
            await until(lambda last=last: last in done.read_text().split(), timeout=30)  # type: ignore[misc]
            reader.kill()
            await reader.wait()
    handled = done.read_text().split()
    assert sorted(set(handled), key=handled.index) == expected
    assert len(handled) <= len(expected) + 2
