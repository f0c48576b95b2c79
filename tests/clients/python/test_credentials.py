"""One session for many requests and processes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from roster_client import AsyncRoster, Login, Saved
from roster_client.errors import InvalidGrant

from tests.support.server import PASSWORD, Server, serve


async def test_concurrent_requests_log_in_once(server: Server) -> None:
    """Requests that begin together share one login."""
    await server.member("ada")
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        await asyncio.gather(*(roster.me() for _ in range(20)))
        assert len(await roster.sessions.list()) == 2


async def test_session_is_refreshed_before_the_token_ends() -> None:
    """With access tokens that live for less than the margin each request refreshes, in one session."""
    async with serve(access_ttl_s=20) as server:
        await server.member("ada")
        async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
            await asyncio.gather(*(roster.me() for _ in range(5)))
            await roster.me()
            assert len(await roster.sessions.list()) == 2


async def test_cancelled_request_does_not_lose_the_refresh(server: Server, tmp_path: Path) -> None:
    """The tokens of a refresh are kept although the request that began it is cancelled."""
    await server.member("ada")
    path = tmp_path / "session"
    roster = AsyncRoster(server.url, Saved(path, Login("ada", PASSWORD)))
    async with roster:
        request = asyncio.create_task(roster.me())
        await asyncio.sleep(0)  # one turn: the login has begun
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    async with AsyncRoster(server.url, Saved(path)) as again:
        assert (await again.me()).username == "ada"


async def test_saved_session_outlives_its_process(server: Server, tmp_path: Path) -> None:
    """A second client continues the session of the file, which only its owner can read."""
    await server.member("ada")
    path = tmp_path / "session"
    async with AsyncRoster(server.url, Saved(path, Login("ada", PASSWORD))) as roster:
        await roster.me()
    assert os.stat(path).st_mode & 0o777 == 0o600
    async with AsyncRoster(server.url, Saved(path)) as roster:
        assert len(await roster.sessions.list()) == 2
        await roster.log_out()
    assert not path.exists()


async def test_two_clients_share_a_saved_session(tmp_path: Path) -> None:
    """Clients that refresh by turns never send a refresh token that was replaced, so the session lives on."""
    async with serve(access_ttl_s=20) as server:
        await server.member("ada")
        path = tmp_path / "session"
        async with (
            AsyncRoster(server.url, Saved(path, Login("ada", PASSWORD))) as one,
            AsyncRoster(server.url, Saved(path)) as two,
        ):
            for _ in range(4):
                await one.me()
                await two.me()
            assert len(await one.sessions.list()) == 2


async def test_ended_session_needs_a_login(server: Server, tmp_path: Path) -> None:
    """A saved session that was ended raises `InvalidGrant`, unless a login is given."""
    ada = await server.member("ada")
    path = tmp_path / "session"
    async with AsyncRoster(server.url, Saved(path, Login("ada", PASSWORD))) as roster:
        await roster.me()
        await server.json("DELETE", "/v1/auth/sessions", ada, status=204)
        async with AsyncRoster(server.url, Saved(path)) as stranded:
            with pytest.raises(InvalidGrant):
                await stranded.me()
        assert (await roster.me()).username == "ada"


async def test_damaged_file_is_named(server: Server, tmp_path: Path) -> None:
    """A file that contains no session raises an error with its path."""
    path = tmp_path / "session"
    path.write_text("{}")
    async with AsyncRoster(server.url, Saved(path)) as roster:
        with pytest.raises(ValueError, match=str(path)):
            await roster.me()
