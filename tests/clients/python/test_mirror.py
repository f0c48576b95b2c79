"""The mirror of all users."""

from __future__ import annotations

import asyncio
import random

import pytest
from roster_client import AsyncRoster, Login, User

from tests.support.drawn import repetitions
from tests.support.proxy import Proxy
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.wait import until


async def listed(roster: AsyncRoster) -> dict[str, User]:
    """What `GET /v1/users` returns, as the mirror holds it: without etags."""
    users = [user async for user in roster.users.list(page_size=100)]
    return {user.id: User(**{name: getattr(user, name) for name in User.__slots__ if name != "etag"}) for user in users}


@pytest.mark.drawn
async def test_mirror_equals_the_list_after_random_writes_and_cuts(server: Server) -> None:
    """Users are created, changed and deleted at random while connections break: in the end the mirror holds what the service has."""
    chance = random.Random(14)
    proxy = Proxy("127.0.0.1", server.port)
    async with (
        proxy.listening(),
        AsyncRoster(server.url, Login("admin", ADMIN_PASSWORD)) as writer,
        AsyncRoster(f"http://127.0.0.1:{proxy.port}", Login("admin", ADMIN_PASSWORD)) as reader,
        reader.mirror() as mirror,
    ):
        ids: list[str] = []
        for number in range(repetitions(10_000, 60)):
            act = chance.choice(("create", "update", "update", "delete"))
            if act == "create" or not ids:
                ids.append((await writer.users.create(f"user{number}", f"user{number}@example.com")).id)
            elif act == "update":
                await writer.users.update(chance.choice(ids), name=f"name {number}", username=f"renamed{number}")
            else:
                await writer.users.delete(ids.pop(chance.randrange(len(ids))))
            if chance.random() < 0.05:
                proxy.refuse()
                await asyncio.sleep(0)
                proxy.mode = "pass"
        expected = await listed(writer)
        await until(lambda: dict(mirror) == expected, timeout=30)
        for user in expected.values():
            assert mirror.by_email(user.email) == mirror.by_username(user.username) == user


async def test_changes_are_told_with_the_user_before_and_after(admin: AsyncRoster) -> None:
    """A new user has no `before`, a deleted one no `after`."""
    async with admin.mirror() as mirror:
        changes = mirror.changes()
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        ada = await admin.users.create("ada", "ada@example.com")
        created = await first
        assert created.before is None
        assert created.after is not None
        assert created.after.id == ada.id
        await admin.users.update(ada, name="Ada")
        updated = await anext(changes)
        assert updated.before == created.after
        assert updated.after is not None
        assert updated.after.name == "Ada"
        await admin.users.delete(ada.id)
        deleted = await anext(changes)
        assert deleted.before == updated.after
        assert deleted.after is None
        assert ada.id not in mirror
