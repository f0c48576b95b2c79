"""Seeing where one is logged in, and ending it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.domain.mail.mail import parse_token
from service.http.services import SERVICES
from tests.support.mail import mailed
from tests.support.ndjson import post_import
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.totp import protect
from tests.support.wait import until

NOWHERE = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"


async def sessions_of(server: Server, by: Login) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await server.json("GET", "/v1/auth/sessions", by))["items"]
    return items


async def log_in_as(server: Server, agent: str, **headers: str) -> dict[str, Any]:
    """The tokens of a user, from a client with this name."""
    await server.json(
        "POST", "/v1/auth/register", status=201,
        json={"username": "ada", "email": "ada@example.com", "password": PASSWORD},
    )  # fmt: skip
    body = {"login": "ada", "password": PASSWORD}
    tokens: dict[str, Any] = await server.json(
        "POST", "/v1/auth/login", json=body, headers={"User-Agent": agent, **headers}
    )
    return tokens


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def test_sessions_are_listed(server: Server) -> None:
    """Every login is one, the oldest first; one of them is that which asks; another user's are not there."""
    ada, other = await server.member("ada"), await server.log_in("ada")
    await server.member("bob")
    async with server.request("GET", "/v1/auth/sessions", other) as answer:
        first, second = (await answer.json())["items"]

    assert answer.headers["Cache-Control"] == "no-store"
    assert [first["current"], second["current"]] == [False, True]
    assert first["created_at"] == first["refreshed_at"] < second["created_at"] < second["expires_at"]
    assert ada.refresh_token.startswith(first["id"].replace("-", ""))
    assert not {"secret", "generation"} & set(first)


async def test_session_says_where_it_was_refreshed_last() -> None:
    """The address and the name of the client that got the newest tokens are what a user knows a session by."""
    async with serve(trusted_proxies=("127.0.0.0/8",)) as server:
        tokens = await log_in_as(server, "Telnet/1.0", **{"X-Forwarded-For": "192.0.2.1"})
        (first,) = (await server.json("GET", "/v1/auth/sessions", headers=bearer(tokens)))["items"]
        moved = {"User-Agent": "Fox 🦊", "X-Forwarded-For": "2001:db8::1"}
        await server.json("POST", "/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]}, headers=moved)
        (then,) = (await server.json("GET", "/v1/auth/sessions", headers=bearer(tokens)))["items"]

    assert (first["client"], first["user_agent"]) == ("192.0.2.1", "Telnet/1.0")
    assert (then["client"], then["user_agent"]) == ("2001:db8::1", "Fox 🦊")
    assert then["created_at"] == first["created_at"] < then["refreshed_at"]
    assert then["expires_at"] > first["expires_at"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("x" * 5000, "x" * 200, id="long"),
        pytest.param("a\u202eb\u200bc", "a?b?c", id="invisible"),
        pytest.param("a\udcffb", "a?b", id="no UTF-8"),
        pytest.param("<script>", "<script>", id="markup is text"),
        pytest.param("", None, id="empty"),
    ],
)
async def test_name_of_a_client_is_fit_to_be_shown(server: Server, sent: str, kept: str | None) -> None:
    """The name that a client sends is bounded, and printable."""
    await server.member("ada")
    body = b'{"login": "ada", "password": "correct horse battery staple"}'
    head = (
        "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nUser-Agent: {sent}\r\n\r\n"
    )
    async with raw_peer(server.port) as peer:
        await peer.send(head.encode(errors="surrogateescape") + body)
        answer = await peer.answer()
    assert answer.status == 200
    sessions = await sessions_of(server, await server.log_in("ada"))
    assert sessions[1]["user_agent"] == kept


async def test_session_is_ended_from_another(server: Server) -> None:
    """Its access and refresh tokens are refused from the next request on, and the log tells why; the other goes on."""
    lost, ada = await server.member("ada"), await server.log_in("ada")
    await server.json("GET", "/v1/users/me", lost)  # remembered
    (first, _) = await sessions_of(server, ada)
    async with server.request("DELETE", f"/v1/auth/sessions/{first['id']}", ada) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (204, "no-store")

    await server.json("GET", "/v1/users/me", lost, status=401)
    await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": lost.refresh_token})
    await server.json("DELETE", f"/v1/auth/sessions/{first['id']}", ada, status=404)
    assert [session["current"] for session in await sessions_of(server, ada)] == [True]
    (event,) = (await server.json("GET", "/v1/events?types=session.ended", ada))["items"]
    assert (event["reason"], event["actor"], event["session_id"]) == ("revoked", ada.id, first["id"])


async def test_all_other_sessions_end_at_once(server: Server) -> None:
    """The one that asks is left, and those of other users; again, it is harmless."""
    others = [await server.member("ada"), await server.log_in("ada")]
    ada, bob = await server.log_in("ada"), await server.member("bob")
    for _ in range(2):
        await server.json("DELETE", "/v1/auth/sessions", ada, status=204)

    for other in others:
        await server.json("GET", "/v1/users/me", other, status=401)
    for other in (ada, bob):
        assert len(await sessions_of(server, other)) == 1
    events = (await server.json("GET", "/v1/events?types=session.ended", ada))["items"]
    assert [event["reason"] for event in events] == ["revoked", "revoked"]


async def test_sessions_of_others_are_not_there(server: Server) -> None:
    """To a member another's session answers like none at all; an administrator ends it."""
    ada, bob, admin = await server.member("ada"), await server.member("bob"), await server.admin()
    (session,) = await sessions_of(server, ada)
    problems = [
        await server.json("DELETE", f"/v1/auth/sessions/{name}", bob, status=404) for name in (session["id"], NOWHERE)
    ]
    assert problems[0]["detail"] == problems[1]["detail"]
    await server.json("GET", "/v1/users/me", ada)

    await server.json("DELETE", f"/v1/auth/sessions/{session['id']}", admin, status=204)
    await server.json("GET", "/v1/users/me", ada, status=401)


@pytest.mark.parametrize("name", ["x", "%00", "0193A5C87B1E7C3A9F523D1F0A6B8C11", "{" + NOWHERE + "}", NOWHERE * 9])
async def test_other_spellings_are_no_sessions(server: Server, name: str) -> None:
    """An id has one spelling; whatever else stands there is not found, or refused before."""
    async with server.request("DELETE", f"/v1/auth/sessions/{name}", await server.member("ada")) as answer:
        assert answer.status in (400, 404)


async def test_session_that_is_not_refreshed_ends() -> None:
    """After `session_idle_timeout_s` without a refresh it renews and answers nothing, however long it might have lasted."""
    async with serve(session_idle_timeout_s=1) as server:
        ada = await server.member("ada")
        header = ada.headers["Authorization"]
        await until(lambda: server.app[SERVICES].authenticator.cached(header) is None)
        await server.json("GET", "/v1/users/me", ada, status=401)
        await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": ada.refresh_token})


# What revokes what, as docs/auth.md has it


async def end_others(server: Server, ada: Login) -> None:
    await server.json("DELETE", "/v1/auth/sessions", ada, status=204)


async def change_role(server: Server, ada: Login) -> None:
    await server.json("PATCH", f"/v1/users/{ada.id}", await server.admin(), json={"role": "admin"})


async def change_password(server: Server, ada: Login) -> None:
    await server.json("POST", "/v1/auth/password", ada, status=204, json={"current": PASSWORD, "new": PASSWORD + "!"})


async def reset(server: Server, ada: Login) -> None:
    body = {"token": await mailed(server, ada.id, "reset"), "password": PASSWORD + "!"}
    await server.json("POST", "/v1/auth/reset", status=204, json=body)


async def turn_on(server: Server, ada: Login) -> None:
    await protect(server, ada)


async def lose(server: Server, ada: Login) -> None:
    await server.json("DELETE", f"/v1/users/{ada.id}/totp", await server.admin(), status=204)


async def import_password(server: Server, ada: Login) -> None:
    row = {"username": "ada", "email": "ada@example.com", "password": PASSWORD + "!"}
    await post_import(server, await server.admin(), [row], "?on_conflict=update")


async def deactivate(server: Server, ada: Login) -> None:
    await server.json("PATCH", f"/v1/users/{ada.id}", await server.admin(), json={"active": False})


@pytest.mark.parametrize(
    ("act", "stays"),
    [
        (end_others, {"this", "token"}),
        (change_role, {"this", "other", "mail", "token"}),
        (change_password, {"this", "token"}),
        (reset, set()),
        (import_password, {"token"}),
        (turn_on, {"this", "token"}),
        (lose, {"token"}),
        (deactivate, set()),
    ],
)
async def test_what_ends_what(server: Server, act: Callable[[Server, Login], Awaitable[None]], stays: set[str]) -> None:
    """Of the session that asks, another one, a token from a mail and an API token, that and no more goes on."""
    ada = await server.member("ada")
    if act is lose:
        await protect(server, ada)
    other = ada if act is lose else await server.log_in("ada")
    program = await server.token(ada, "profile")
    presented = parse_token(await mailed(server, ada.id, "verify"))
    assert presented is not None
    await act(server, ada)

    left = {"mail"} if await server.app[SERVICES].store.mail_tokens.find("verify", presented) is not None else set()
    for name, by in (("this", ada), ("other", other), ("token", program)):
        async with server.request("GET", "/v1/users/me", by) as answer:
            assert answer.status in (200, 401)
            left |= {name} if answer.status == 200 else set()
    assert left == stays
