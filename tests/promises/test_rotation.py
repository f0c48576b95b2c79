"""Promise: keys follow one another under load, in every process, and no token is refused because of that."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from pathlib import Path
from typing import Final

import jwt

from service.app import now
from service.cli.keys import rotate
from service.domain.auth.signing_key import Algorithm
from service.http.services import SERVICES
from service.store.postgres.store import PostgresStore
from tests.support.server import Login, Server, serve, settings_for_tests
from tests.support.wait import until

_NEXT: Final[tuple[Algorithm, ...]] = ("ES256", "EdDSA")


async def go_on(servers: tuple[Server, Server], login: Login, stop: asyncio.Event, seen: Counter[str]) -> None:
    """Refresh here, and go there with the token; with the one before it, too, which is good as long."""
    token, access = login.refresh_token, login.access_token
    here, there = servers
    while not stop.is_set():
        here, there = there, here
        async with here.request("POST", "/v1/auth/refresh", json={"refresh_token": token}) as answer:
            seen[str(answer.status)] += 1
            if answer.status != 200:
                continue
            tokens = await answer.json()
        for one in (tokens["access_token"], access):
            async with there.request("GET", "/v1/users/me", headers={"Authorization": f"Bearer {one}"}) as answer:
                seen[str(answer.status)] += 1
        token, access = tokens["refresh_token"], tokens["access_token"]
        seen[jwt.get_unverified_header(access)["kid"]] += 1
        await asyncio.sleep(0.1)


async def hold(one: Server, other: Server, url: str) -> None:
    """Rotate keys of three kinds while four users refresh all the time, and check that no request is refused."""
    settings = settings_for_tests(store_url=url, jwt_secret="")
    stop, seen = asyncio.Event(), Counter[str]()
    logins = [await one.member() for _ in range(4)]
    load = [asyncio.create_task(go_on((one, other), login, stop, seen)) for login in logins]
    signed = [one.app[SERVICES].keyring.signing.algorithm]
    for algorithm in _NEXT:
        key, signs = await rotate(settings, algorithm, lead_s=4)
        assert not signs
        await until(functools.partial(is_used, seen, key.kid), timeout=15)
        signed.append(one.app[SERVICES].keyring.signing.algorithm)
    stop.set()
    await asyncio.gather(*load)

    # A database that is slow because the machine is busy is another matter, and seldom.
    assert seen.pop("503", 0) < seen["200"] / 100, seen
    assert {name for name in seen if len(name) == 3} == {"200"}, seen
    assert signed == ["HS256", *_NEXT]
    for server in (one, other):
        published = (await server.json("GET", "/.well-known/jwks.json"))["keys"]
        assert [key["alg"] for key in published] == list(_NEXT)


def is_used(seen: Counter[str], kid: str) -> bool:
    return seen[kid] > 8


async def test_rotation_refuses_no_request_in_two_processes(place: str) -> None:
    """A token of one process is accepted by the other, whichever of them has read the next key first."""
    async with (
        serve(store=PostgresStore(place, now, wait_s=None), jwt_secret="") as one,
        serve(store=PostgresStore(place, now, wait_s=None), jwt_secret="") as other,
    ):
        await hold(one, other, place)


async def test_rotation_refuses_no_request_on_sqlite(tmp_path: Path) -> None:
    """The next key is written beside a service that owns the file, and writes to it all the time."""
    url = f"sqlite:///{tmp_path}/roster.db"
    async with serve(store_url=url, jwt_secret="") as server:
        await hold(server, server, url)
