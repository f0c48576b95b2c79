"""The own password, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.mail import Mails
from tests.support.server import PASSWORD, Login, Server, serve

NEW = "another good one"


async def change(server: Server, by: Login, current: str = PASSWORD, new: str = NEW, *, status: int = 204) -> Any:
    return await server.json("POST", "/v1/auth/password", by, status=status, json={"current": current, "new": new})


async def test_password_is_changed(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The new one logs in and the old one does not; this session stays, all others end, and the owner is notified."""
    ada = await server.member("ada")
    other = await server.log_in("ada")
    await change(server, ada)

    await server.json("GET", "/v1/users/me", ada)
    await server.json("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token})
    await server.json("GET", "/v1/users/me", other, status=401)
    await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": other.refresh_token})
    await server.json("POST", "/v1/auth/login", status=401, json={"login": "ada", "password": PASSWORD})
    await server.log_in("ada", NEW)
    assert (await Mails(caplog).newest("ada@example.com")).subject == "Your password was changed"
    endings = (await server.json("GET", "/v1/events?types=session.ended", ada))["items"]
    assert [(event["reason"], event["actor"]) for event in endings] == [("password", ada.id)]


async def test_open_stream_of_another_session_ends(server: Server) -> None:
    """Those of this session go on."""
    ada = await server.member("ada")
    other = await server.log_in("ada")
    async with server.ws(other) as theirs, server.ws(ada) as ours:
        await theirs.receive(timeout=5)
        await ours.receive(timeout=5)
        await change(server, ada)
        async with asyncio.timeout(5):
            while not theirs.closed:
                await theirs.receive()
        assert theirs.close_code == 4401
        await ours.send_json({"type": "ping"})
        async with asyncio.timeout(5):
            while (await ours.receive_json())["type"] != "pong":
                pass


async def test_current_password_is_asked_for(server: Server) -> None:
    """A wrong one is 422 and changes nothing; so does a new one that breaks a rule."""
    ada = await server.member("ada")
    cases = [
        ("wrong", NEW, "/current", "wrong_password"),
        ("", NEW, "/current", "wrong_password"),
        (PASSWORD, "short", "/new", "too_short"),
        (PASSWORD, "password1", "/new", "password_too_common"),
        (PASSWORD, "ada@example.com", "/new", "password_too_common"),
    ]
    for current, new, pointer, code in cases:
        problem = await change(server, ada, current, new, status=422)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    await server.log_in("ada")


async def test_wrong_tries_count_as_failed_logins() -> None:
    """A stolen token guesses no faster than a client of a known network."""
    async with serve(login_limit="2/hour") as server:
        ada = await server.member("ada")
        for _ in range(4):
            await change(server, ada, "wrong", status=422)
        await change(server, ada, status=429)


async def test_change_that_asks_for_no_password_clears_no_failures() -> None:
    """A change of a name that comes with a password does not check it: a stolen token cannot reset the count by it."""
    async with serve(login_limit="2/hour") as server:
        ada = await server.member("ada")
        path = f"/v1/users/{ada.id}"
        for number in range(3):
            await change(server, ada, "wrong", status=422)
            await server.json("PATCH", path, ada, json={"name": f"Ada {number}", "current_password": "a guess"})
        await change(server, ada, "wrong", status=422)
        await change(server, ada, status=429)


async def test_two_changes_at_once_make_one(server: Server) -> None:
    """A request with a password that was replaced meanwhile is refused."""
    ada = await server.member("ada")

    async def one(new: str) -> int:
        body = {"current": PASSWORD, "new": new}
        async with server.request("POST", "/v1/auth/password", ada, json=body) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*(one(f"{NEW} {number}") for number in range(4)))) == [204, 422, 422, 422]
