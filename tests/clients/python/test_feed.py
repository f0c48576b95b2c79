"""The feed through the client: nothing lost and nothing unnoticed, over cuts and crashes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from roster_client import AsyncRoster, Event, FilePosition, Login, Reset
from roster_client.errors import InvalidCredentials
from roster_client.http.sse import SseEvent, SseParser

from tests.support.proxy import Proxy
from tests.support.server import ADMIN_PASSWORD, Server

CREATED = frozenset({"user.created"})


async def test_feed_ends_after_its_limit(admin: AsyncRoster) -> None:
    """A feed from the oldest event on yields events in order, and ends after `limit` of them."""
    names = [(await admin.users.create(f"user{n}", f"user{n}@example.com")).username for n in range(3)]
    found = [item async for item in admin.feed(after="0", types=CREATED, limit=4)]
    assert [item.user.username for item in found[1:] if isinstance(item, Event) and item.user] == names


async def test_item_is_done_when_the_next_is_asked_for(admin: AsyncRoster, tmp_path: Path) -> None:
    """A reader that stops while it handles an event gets that event again, and no earlier one."""
    position = FilePosition(tmp_path / "position", first="0")
    for n in range(3):
        await admin.users.create(f"user{n}", f"user{n}@example.com")
    seen: list[str] = []
    for _ in range(2):
        async with aclosing(admin.feed(position, types=CREATED, limit=10)) as feed:
            async for item in feed:
                assert isinstance(item, Event)
                seen.append(item.id)
                if len(seen) in (2, 3):
                    break
    assert len(seen) == 3
    assert seen[1] == seen[2] != seen[0]


async def test_feed_continues_after_a_cut(server: Server) -> None:
    """Events that are written while connections are refused arrive afterwards, each once."""
    proxy = Proxy("127.0.0.1", server.port)
    async with proxy.listening(), AsyncRoster(server.url, Login("admin", ADMIN_PASSWORD)) as writer:
        await writer.users.create("user0", "user0@example.com")
        async with AsyncRoster(f"http://127.0.0.1:{proxy.port}", Login("admin", ADMIN_PASSWORD)) as reader:
            seen: list[str] = []
            async for item in reader.feed(after="0", types=CREATED, limit=4):
                assert isinstance(item, Event)
                assert item.user
                seen.append(item.user.username)
                if len(seen) == 2:
                    proxy.refuse()
                    for n in (1, 2):
                        await writer.users.create(f"user{n}", f"user{n}@example.com")
                    proxy.mode = "pass"
        assert seen == ["admin", "user0", "user1", "user2"]


async def test_foreign_position_is_reset(admin: AsyncRoster, tmp_path: Path) -> None:
    """A position of another epoch yields `Reset` first; its position is saved once it is handled."""
    position = FilePosition(tmp_path / "position")
    position.save("another2-7")
    feed = admin.feed(position, limit=1)
    reset = await anext(feed)
    assert isinstance(reset, Reset)
    assert reset.reason == "epoch"
    assert position.load() == "another2-7"
    following = asyncio.ensure_future(anext(feed))
    await admin.users.create("ada", "ada@example.com")
    assert isinstance(await following, Event)
    assert position.load() == reset.position


async def test_refused_credentials_end_the_feed(server: Server) -> None:
    """A feed that no repetition can open raises the reason."""
    async with AsyncRoster(server.url, Login("admin", "wrong")) as roster:
        with pytest.raises(InvalidCredentials):
            await anext(roster.feed())


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_stream_may_be_cut_at_every_byte(end: bytes) -> None:
    """The same events are found wherever the bytes are cut."""
    lines = [
        "\ufeffretry: 7",
        "id: a-1",
        "event: x",
        "data: é",
        "data:  b",
        "",
        ": nothing",
        "data: c",
        "",
        "data: cut",
    ]
    stream = end.join(line.encode() for line in lines) + end
    expected = [SseEvent("x", "é\n b", "a-1"), SseEvent("message", "c", None)]
    for cut in range(len(stream) + 1):
        parser = SseParser()
        found = [*parser.parse(stream[:cut]), *parser.parse(stream[cut:])]
        assert found == expected
        assert parser.retry_ms == 7
