"""API tokens over HTTP, and how soon one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.app import now
from service.domain.auth.api_token import MOST_TOKENS
from service.http.services import SERVICES
from service.security import api_token_secret
from service.store.postgres.store import PostgresStore
from tests.support.revocation import deactivate, delete, promote
from tests.support.server import ADMIN_PASSWORD, Login, Server, serve
from tests.support.sse import Stream
from tests.support.wait import BUSY_S, until
from tests.support.ws import connect

BODY: dict[str, Any] = {"name": "nightly export", "scopes": ["events:read", "users:read"]}
CHALLENGE = 'Bearer realm="roster", error="invalid_token"'

Act = Callable[[Server, Login, Login], Awaitable[None]]


@pytest.fixture
async def kept(store_url: str) -> AsyncIterator[Server]:
    """A service on a store of each kind."""
    async with serve(store_url=store_url) as server:
        yield server


async def revoke(server: Server, by: Login, token: Login) -> None:
    await server.json("DELETE", f"/v1/tokens/{token.refresh_token}", by, status=204)


async def items(server: Server, by: Login, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.json("GET", f"/v1/tokens{query}", by))["items"]
    return found


async def status_of(server: Server, by: Login, path: str = "/v1/users/me") -> tuple[int, str]:
    async with server.request("GET", path, by) as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", "")


async def within_a_second(server: Server, by: Login, status: int, path: str = "/v1/users/me") -> str:
    """The challenge of the first answer with that status, which must come by then."""
    found = 0, ""

    async def is_answered() -> bool:
        nonlocal found
        found = await status_of(server, by, path)
        return found[0] == status

    await until(is_answered, timeout=1 + BUSY_S)
    return found[1]


async def closing(stream: Stream) -> str:
    while (frame := await stream.next()) is not None:
        if frame.event == "closing":
            return str(frame.data["reason"])
    raise AssertionError("the stream ended without a word")


# Making and listing


async def test_token_is_shown_once(kept: Server) -> None:
    """The answer that makes it has it, nothing else ever does; it works, and the list tells of it what it was made as."""
    ada = await kept.member("ada")
    async with kept.request("POST", "/v1/tokens", ada, json=BODY) as answer:
        made = await answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    token = made.pop("token")
    listed = await kept.json("GET", "/v1/tokens", ada)
    me = await kept.json("GET", f"/v1/users/{ada.id}", headers={"Authorization": f"Bearer {token}"})

    assert me["id"] == ada.id
    assert listed == {"items": [made]}
    assert token not in str(listed)
    assert made.keys() == {"id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at"}
    assert (made["name"], made["scopes"]) == (BODY["name"], ["users:read", "events:read"])
    assert (made["prefix"], made["last_used_at"]) == (token[:11], None)
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert life.total_seconds() == pytest.approx(30 * 86_400, abs=1)


async def test_token_outlives_the_process(tmp_path: Path) -> None:
    """On a store that lasts it is as good after a restart."""
    store_url = f"sqlite:///{tmp_path}/roster.db"
    async with serve(store_url=store_url) as server:
        program = await server.token(await server.member("ada"), "profile")
    async with serve(store_url=store_url) as server:
        assert (await server.json("GET", "/v1/users/me", program))["id"] == program.id


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\u0000b"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": None}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": None}, "/scopes"),
        ({"scopes": "users:read"}, "/scopes"),
        ({"scopes": ["sessions"]}, "/scopes/0"),
        ({"scopes": ["users:*"]}, "/scopes/0"),
        ({"scopes": ["*"]}, "/scopes/0"),
        ({"scopes": ["users:read events:read"]}, "/scopes/0"),
        ({"scopes": [1]}, "/scopes/0"),
        ({"scopes": ["profile"] * 100}, "/scopes"),
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": -1}, "/expires_in"),
        ({"expires_in": "60"}, "/expires_in"),
        ({"expires_in": True}, "/expires_in"),
        ({"expires_in": 1.5}, "/expires_in"),
        ({"expires_in": 1e300}, "/expires_in"),
        ({"expires_in": 31_536_001}, "/expires_in"),
        ({"expires_in": None}, "/expires_in"),
        ({"user_id": "x"}, "/user_id"),
        ({"token": "roster_x"}, "/token"),
    ],
)
async def test_fields_keep_their_rules(server: Server, fields: dict[str, Any], pointer: str) -> None:
    """A body that breaks a rule is 422 with the fields, and creates nothing."""
    ada = await server.member("ada")
    problem = await server.json("POST", "/v1/tokens", ada, status=422, json=BODY | fields)

    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert await items(server, ada) == []


async def test_scope_that_stands_twice_stands_once(server: Server) -> None:
    """The requested scopes are a set."""
    ada = await server.member("ada")
    made = await server.json("POST", "/v1/tokens", ada, status=201, json=BODY | {"scopes": ["profile", "profile"]})

    assert made["scopes"] == ["profile"]


@pytest.mark.parametrize(
    ("longest_s", "asked", "life_s"),
    [
        (31_536_000, {}, 2_592_000),
        (31_536_000, {"expires_in": 31_536_000}, 31_536_000),
        (60, {}, 60),
        (0, {}, 2_592_000),
        (0, {"expires_in": 3_153_600_000}, 3_153_600_000),
        (0, {"expires_in": None}, None),
    ],
)
async def test_life_is_bounded_by_the_setting(longest_s: int, asked: dict[str, Any], life_s: int | None) -> None:
    """A year at most and thirty days when nothing is said; 0 lifts the bound, and then there may be no end at all."""
    async with serve(api_token_ttl_s=longest_s) as server:
        ada = await server.member("ada")
        made = await server.json("POST", "/v1/tokens", ada, status=201, json=BODY | asked)
        if life_s is None:
            assert made["expires_at"] is None
        else:
            life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
            assert life.total_seconds() == pytest.approx(life_s, abs=1)


async def test_endless_token_serves_everywhere() -> None:
    """Without an end it opens requests, feeds and sockets, whose `hello` tells of none."""
    async with serve(api_token_ttl_s=0) as server:
        program = await server.token(await server.member("ada"), "profile", "events:read", expires_in=None)
        assert (await status_of(server, program))[0] == 200
        async with server.feed(program) as stream:
            await stream.expect("hello")
        async with connect(server, program) as client:
            assert client.hello["expires_at"] is None
            assert (await client.ask("auth", token=program.access_token))["expires_at"] is None


async def test_tokens_of_a_user_are_bounded(kept: Server) -> None:
    """Over a hundred it is 409 until one is revoked."""
    ada = await kept.member("ada")
    tokens = [await kept.token(ada, "profile") for _ in range(MOST_TOKENS)]
    problem = await kept.json("POST", "/v1/tokens", ada, status=409, json=BODY)
    assert problem["type"] == "/problems/conflict"
    assert len(await items(kept, ada)) == MOST_TOKENS
    await revoke(kept, ada, tokens[0])

    await kept.token(ada, "profile")


async def test_others_tokens_are_for_administrators(kept: Server) -> None:
    """A member finds neither another's list nor another's token; an administrator reads and ends them."""
    admin, ada, eve = await kept.admin(), await kept.member("ada"), await kept.member("eve")
    program = await kept.token(ada, "profile")
    for path in (f"/v1/tokens?user={ada.id}", "/v1/tokens?user=0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"):
        await kept.json("GET", path, eve, status=404)
    await kept.json("DELETE", f"/v1/tokens/{program.refresh_token}", eve, status=404)
    assert (await status_of(kept, program))[0] == 200

    assert [token["id"] for token in await items(kept, admin, f"?user={ada.id}")] == [program.refresh_token]
    assert await items(kept, admin) == await items(kept, eve, f"?user={eve.id}") == []
    await kept.json("GET", "/v1/tokens?user=0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11", admin, status=404)
    await revoke(kept, admin, program)
    assert await within_a_second(kept, program, 401) == CHALLENGE


@pytest.mark.parametrize("query", ["?user=x", "?user=", "?user=1&user=2", "?limit=1", "?user=%00"])
async def test_other_questions_are_400(server: Server, query: str) -> None:
    """A parameter that is none, twice or malformed is refused as such."""
    await server.json("GET", f"/v1/tokens{query}", await server.member(), status=400)


@pytest.mark.parametrize("token_id", ["x", "%00", "a" * 36, "{0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11}", "me"])
async def test_other_ids_are_404(server: Server, token_id: str) -> None:
    """An invalid id is 404; so is the id of a session or of a user."""
    ada = await server.member("ada")
    session = ada.refresh_token.split(".")[0]
    for each in (token_id, ada.id, f"{session[:8]}-{session[8:12]}-{session[12:16]}-{session[16:20]}-{session[20:]}"):
        await server.json("DELETE", f"/v1/tokens/{each}", ada, status=404)
    await server.json("GET", "/v1/users/me", ada)


async def test_last_use_is_shown(kept: Server) -> None:
    """Within seconds of the first use the list has it, remembered token or not, and a refused request is a use as well."""
    ada = await kept.member("ada")
    program, idle = await kept.token(ada, "profile"), await kept.token(ada, "profile")
    before = datetime.now(UTC) - timedelta(seconds=1)
    await kept.json("GET", "/v1/users", program, status=403)
    used = None
    async with asyncio.timeout(5):
        while used is None:
            used = (await items(kept, ada))[0]["last_used_at"]

    assert before < datetime.fromisoformat(used) <= datetime.now(UTC)
    assert [token["id"] for token in await items(kept, ada) if token["last_used_at"] is None] == [idle.refresh_token]


# What tokens may make


async def test_token_makes_no_more_than_it_is(server: Server) -> None:
    """With `tokens` it makes others of its own scopes and no longer life; without, none at all."""
    ada = await server.member("ada")
    parent = await server.token(ada, "tokens", "profile", expires_in=60)
    child = await server.token(parent, "profile", expires_in=86_400)
    found = {token["id"]: token for token in await items(server, ada)}
    assert found[child.refresh_token]["expires_at"] == found[parent.refresh_token]["expires_at"]
    body = BODY | {"scopes": ["profile", "users:read"]}
    async with server.request("POST", "/v1/tokens", parent, json=body) as answer:
        assert answer.status == 403
        assert answer.headers["WWW-Authenticate"].endswith('error="insufficient_scope", scope="users:read"')

    await server.json("POST", "/v1/tokens", child, status=403, json=BODY)
    await server.json("GET", "/v1/tokens", child, status=403)
    await server.json("DELETE", f"/v1/tokens/{child.refresh_token}", child, status=403)
    assert len(await items(server, ada)) == 2


async def test_token_is_no_login(server: Server) -> None:
    """It neither logs out nor gets tickets, renews nothing, is no ticket and no cookie."""
    program = await server.token(await server.member("ada"), *api_scopes())
    for path in ("/v1/auth/logout", "/v1/auth/ticket"):
        async with server.request("POST", path, program) as answer:
            assert answer.status == 403
            assert answer.headers["WWW-Authenticate"].endswith('scope="sessions"')
    text = program.access_token
    await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": text})
    async with server.request("GET", "/v1/feed", params={"ticket": text}) as answer:
        assert answer.status == 401
    async with server.request("POST", "/v1/auth/ticket", await server.log_in("ada")) as answer:
        (name,), ticket = answer.cookies, (await answer.json())["ticket"]
    async with server.request("GET", "/v1/feed", params={"ticket": ticket, "limit": "1"}):
        pass  # spent
    cookie = {"Cookie": f"{name}={text}", "Sec-Fetch-Site": "same-origin"}
    async with server.request("GET", "/v1/feed", headers=cookie, params={"ticket": ticket}) as answer:
        assert answer.status == 401


def api_scopes() -> list[str]:
    return ["profile", "users:read", "users:write", "events:read", "rooms:read", "rooms:write", "aggregate", "tokens"]


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "=",
        lambda text: text[:20] + ("a" if text[20] != "a" else "b") + text[21:],
        lambda text: api_token_secret.make(),
        lambda text: "roster_",
        lambda text: "roster_" + "a" * 4000,
        lambda text: text.removeprefix("roster_"),
        lambda text: text.upper(),
        lambda text: f"{text}, {text}",
    ],
)
async def test_other_texts_are_refused(server: Server, bend: Callable[[str], str]) -> None:
    """Text that only looks like a token is 401 `invalid_token`, whether the checksum or the store rejects it."""
    program = await server.token(await server.member("ada"), "profile")
    for _ in range(2):
        program.access_token, text = bend(program.access_token), program.access_token
        assert await status_of(server, program) == (401, CHALLENGE)
        program.access_token = text
    assert (await status_of(server, program))[0] == 200


# How soon one ends


async def test_revoked_token_is_refused_within_a_second(kept: Server) -> None:
    """Though it was remembered; others of the user go on, and so does its session."""
    ada = await kept.member("ada")
    program, other = await kept.token(ada, "profile"), await kept.token(ada, "profile")
    for _ in range(2):
        assert (await status_of(kept, program))[0] == 200
    await revoke(kept, ada, program)

    assert await within_a_second(kept, program, 401) == CHALLENGE
    await kept.json("POST", "/v1/tokens", program, status=401, json=BODY)
    assert (await status_of(kept, other))[0] == (await status_of(kept, ada))[0] == 200
    await kept.json("DELETE", f"/v1/tokens/{program.refresh_token}", ada, status=404)


async def test_token_ends_with_the_clock() -> None:
    """From its last second on it is refused, remembered or not, and its streams end."""
    async with serve(sse_keepalive_s=0.1) as server:
        ada = await server.member("ada")
        program = await server.token(ada, "profile", "events:read", expires_in=1)
        assert (await status_of(server, program))[0] == 200
        async with server.feed(program) as stream, connect(server, program) as client:
            assert await closing(stream) == "expired"
            assert (await client.closing())[1] == 4401
        assert await status_of(server, program) == (401, CHALLENGE)
        assert await items(server, ada) == []


@pytest.mark.parametrize(
    ("act", "reason", "code"),
    [
        (None, "session_ended", 4401),
        (deactivate, "account_gone", 4403),
        (delete, "account_gone", 4403),
        (promote, "rights_changed", 4401),
    ],
)
async def test_end_of_a_token_ends_its_streams_within_a_second(
    kept: Server, act: Act | None, reason: str, code: int
) -> None:
    """Feed, room and WebSocket say why; what another token of the user has open goes on where only this one ended."""
    admin, ada = await kept.admin(), await kept.member("ada")
    program, other = await kept.token(ada, *api_scopes()), await kept.token(ada, "events:read")
    async with (
        kept.feed(program) as feed,
        kept.feed(program, "/v1/rooms/lobby/feed") as room,
        kept.feed(other) as beside,
        connect(kept, program) as client,
    ):
        for stream in (feed, room, beside):
            await stream.expect("hello")
        began = time.monotonic()
        await (act(kept, admin, ada) if act else revoke(kept, ada, program))
        assert [await closing(feed), await closing(room)] == [reason, reason]
        frame, closed = await client.closing()
        assert (frame["reason"], closed) == (reason, code)
        assert time.monotonic() - began < 1 + BUSY_S
        if act is None:
            ended = (await beside.expect("token.ended")).data
            assert (ended["token_id"], ended["reason"], ended["actor"]) == (program.refresh_token, "revoked", ada.id)
        else:
            assert await closing(beside) == reason


@pytest.mark.parametrize("act", [deactivate, delete])
async def test_tokens_end_with_the_account(kept: Server, act: Act) -> None:
    """A deactivated or deleted user loses its tokens for good."""
    admin, ada = await kept.admin(), await kept.member("ada")
    program = await kept.token(ada, "profile")
    assert (await status_of(kept, program))[0] == 200
    await act(kept, admin, ada)
    assert await within_a_second(kept, program, 401) == CHALLENGE
    if act is deactivate:
        await kept.json("PATCH", f"/v1/users/{ada.id}", admin, json={"active": True})
        assert await status_of(kept, program) == (401, CHALLENGE)


async def test_token_follows_the_role_of_its_user(kept: Server) -> None:
    """A token has the rights of its user, up and down, within a second."""
    admin, ada = await kept.admin(), await kept.member("ada")
    program = await kept.token(ada, "users:read")
    for role, status in (("admin", 200), ("member", 403), ("admin", 200)):
        await kept.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": role})
        await within_a_second(kept, program, status, "/v1/users")
        assert (await status_of(kept, program, f"/v1/users/{admin.id}"))[0] == (200 if role == "admin" else 404)


async def test_logging_out_leaves_tokens(server: Server) -> None:
    """Programs have their own: they outlast the session in which they were made."""
    ada = await server.member("ada")
    program = await server.token(ada, "profile")
    await server.json("POST", "/v1/auth/logout", ada, status=204)

    assert (await status_of(server, program))[0] == 200


# In every process


async def test_end_reaches_every_process_within_a_second(place: str) -> None:
    """Of two services on one database, the one that did not revoke refuses what it had remembered, and ends its streams."""
    stores = [PostgresStore(place, now, wait_s=None) for _ in range(2)]
    async with serve(store=stores[0]) as here, serve(store=stores[1]) as there:
        admin, ada = await here.log_in("admin", ADMIN_PASSWORD), await here.member("ada")
        program, other = await here.token(ada, *api_scopes()), await here.token(ada, "profile")
        for token in (program, other):
            assert (await status_of(there, token))[0] == 200
        async with there.feed(program) as feed, connect(there, program) as client:
            await feed.expect("hello")
            began = time.monotonic()
            await revoke(here, ada, program)
            assert await closing(feed) == "session_ended"
            assert (await client.closing())[1] == 4401
            authenticator = there.app[SERVICES].authenticator
            await until(lambda: authenticator.cached(f"Bearer {program.access_token}") is None)
            assert await status_of(there, program) == (401, CHALLENGE)
            assert time.monotonic() - began < 1 + BUSY_S
        assert (await status_of(there, other))[0] == 200
        await deactivate(here, admin, ada)
        assert await within_a_second(there, other, 401) == CHALLENGE
