"""Promise: what ended is refused within a second, in every process and on every open stream, whatever keeps the data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.app import now
from service.http.services import SERVICES
from service.store.postgres.store import PostgresStore
from tests.support.revocation import deactivate, delete, log_out, promote
from tests.support.server import Login, Server, serve
from tests.support.wait import BUSY_S, until
from tests.support.ws import connect


@asynccontextmanager
async def two(place: str) -> AsyncIterator[tuple[Server, Server]]:
    """Two services on one database, with the key that they share there."""
    async with (
        serve(store=PostgresStore(place, now, wait_s=None), jwt_secret="") as one,
        serve(store=PostgresStore(place, now, wait_s=None), jwt_secret="") as other,
    ):
        yield one, other


async def refresh(server: Server, token: str) -> tuple[int, Any]:
    async with server.request("POST", "/v1/auth/refresh", json={"refresh_token": token}) as answer:
        return answer.status, await answer.json()


async def refused_after_s(server: Server, by: Login) -> float:
    """How long its access token is still taken, in seconds."""
    began = time.monotonic()

    async def is_refused() -> bool:
        async with server.request("GET", "/v1/users/me", by) as answer:
            assert answer.status in (200, 401), await answer.text()
            return answer.status == 401

    await until(is_refused)
    return time.monotonic() - began


async def test_reuse_ends_the_session_for_good(each_store_url: str) -> None:
    """A refresh token that comes back ends its session, and that is kept although the answer is a refusal."""
    async with serve(store_url=each_store_url) as server:
        ada = await server.member("ada")
        token = ada.refresh_token
        for _ in range(2):
            status, tokens = await refresh(server, token)
            assert status == 200
            token = tokens["refresh_token"]
        assert (await refresh(server, ada.refresh_token))[0] == 400

        assert (await refresh(server, token))[0] == 400
        await server.json("GET", "/v1/users/me", ada, status=401)
        again = await server.log_in("ada")
        (event,) = (await server.json("GET", "/v1/events?types=session.ended", again))["items"]
        assert event["reason"] == "reuse"


async def test_refreshes_at_once_have_one_successor(each_store_url: str) -> None:
    """However many come with one token at the same moment, all get the same next one, and with that it goes on."""
    async with serve(store_url=each_store_url) as server:
        token = (await server.member("ada")).refresh_token
        for _ in range(5):
            found = await asyncio.gather(*(refresh(server, token) for _ in range(8)))
            assert {status for status, _ in found} == {200}
            (token,) = {tokens["refresh_token"] for _, tokens in found}


async def test_refreshes_in_two_processes_have_one_successor(place: str) -> None:
    """The same where they come to different processes."""
    async with two(place) as (one, other):
        token = (await one.member("ada")).refresh_token
        for _ in range(5):
            found = await asyncio.gather(*(refresh(server, token) for server in (one, other) * 4))
            assert {status for status, _ in found} == {200}
            (token,) = {tokens["refresh_token"] for _, tokens in found}


@pytest.mark.parametrize("act", [log_out, promote, deactivate, delete])
async def test_ending_reaches_other_processes_within_a_second(place: str, act: Any) -> None:
    """A token that another process remembers is refused there, and streams that are open there end."""
    async with two(place) as (one, other):
        admin, ada = await one.admin(), await one.member("ada")
        await other.json("GET", "/v1/users/me", ada)
        assert other.app[SERVICES].authenticator.cached(ada.headers["Authorization"]) is not None
        async with other.feed(ada) as stream, connect(other, ada) as socket:
            await stream.expect("hello")
            began = time.monotonic()
            await act(one, admin, ada)
            frame = await stream.next(1.0)
            while frame is not None and frame.event != "closing":
                frame = await stream.next(1.0)
            assert frame is not None
            _, code = await socket.closing(1.0)
            assert code in (4401, 4403)
            if act is promote:  # the token goes on, with the rights that there are now
                assert (await other.json("GET", "/v1/users?limit=1", ada))["items"]
            else:
                assert await refused_after_s(other, ada) + time.monotonic() - began < 1 + BUSY_S


async def test_ended_session_is_not_there_after_a_restart(tmp_path: Path, place: str) -> None:
    """No list of what ended is kept: a token is good as long as its session is there, and only that is looked at."""
    for url in (f"sqlite:///{tmp_path}/roster.db", place):
        async with serve(store_url=url, jwt_secret="") as server:
            ended, ada = await server.member("ada"), await server.log_in("ada")
            await server.json("POST", "/v1/auth/logout", ended, status=204)
        async with serve(store_url=url, jwt_secret="") as server:
            await server.json("GET", "/v1/users/me", ada)
            for _ in range(2):
                await server.json("GET", "/v1/users/me", ended, status=401)
            assert (await refresh(server, ended.refresh_token))[0] == 400


async def test_token_that_comes_from_elsewhere_is_asked_for(place: str) -> None:
    """A session that ended where a process could not see it is refused there at first sight."""
    async with two(place) as (one, other):
        ada = await one.member("ada")
        await one.json("POST", "/v1/auth/logout", ada, status=204)
        assert other.app[SERVICES].authenticator.cached(ada.headers["Authorization"]) is None
        await other.json("GET", "/v1/users/me", ada, status=401)


async def test_everything_but_this_session_ends_everywhere(place: str) -> None:
    """Ending all others in one process ends what they have open in another; this one goes on in both."""
    async with two(place) as (one, other):
        lost, ada = await one.member("ada"), await one.log_in("ada")
        async with other.feed(lost) as ends, other.feed(ada) as goes_on:
            await ends.expect("hello")
            await goes_on.expect("hello")
            await one.json("DELETE", "/v1/auth/sessions", ada, status=204)
            frame = await ends.next(1 + BUSY_S)
            while frame is not None and frame.event != "closing":
                frame = await ends.next(1 + BUSY_S)
            assert frame is not None
            assert frame.data["reason"] == "session_ended"
            await goes_on.expect("session.ended")
            await until(lambda: len(other.app[SERVICES].connections) == 1)
        assert await refused_after_s(other, lost) < 1 + BUSY_S
        await other.json("GET", "/v1/users/me", ada)
