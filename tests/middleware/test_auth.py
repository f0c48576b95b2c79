"""Authentication: the accepted credentials, and how soon they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest

from service.http.operations import Access
from service.http.view import View
from service.routes import routes
from tests.support.server import PASSWORD, Login, Server

VIEWS: list[tuple[str, type[View]]] = [
    (route.path, route.handler)  # type: ignore[attr-defined]  # the table holds views alone
    for route in routes
]
CHALLENGE = 'Bearer realm="roster"'


async def status_of(server: Server, authorization: str | None, path: str = "/v1/users/me") -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with server.request("GET", path, headers=headers) as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", "")


async def test_every_operation_asks_for_what_it_says(server: Server) -> None:
    """Without credentials exactly the public operations go further than 401; the others say which scheme they take."""
    for template, view in VIEWS:
        an_id = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
        path = template.format(id=an_id, token_id=an_id, slug="not-found", room="lobby")
        for method, operation in view.operations.items():
            if operation.access is Access.OPERATOR:
                continue
            async with server.request(method, path) as answer:
                asks = operation.access is not Access.PUBLIC
                # A login without anything is refused as such, not for want of a token.
                assert (answer.status == 401) is (asks or path == "/v1/auth/login"), (method, path)
                if asks:
                    assert answer.headers["WWW-Authenticate"] == CHALLENGE


async def test_scheme_is_bearer_in_any_case(server: Server) -> None:
    """The token comes as Bearer, however that is spelled; the same token is known again at once."""
    token = (await server.member("ada")).access_token
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer"):
        assert await status_of(server, f"{scheme} {token}") == (200, "")
    for other in (f"Basic {token}", f"Token {token}", token, "Bearer", "Bearer ", ""):
        assert await status_of(server, other) == (401, CHALLENGE)


async def test_forged_tokens_are_named_in_the_challenge(server: Server) -> None:
    """A token that is not ours, or is one of ours used for something else, is 401 with the reason (RFC 6750, 3.1)."""
    ada = await server.member("ada")
    header, payload, signature = ada.access_token.split(".")
    claims: dict[str, Any] = jwt.decode(ada.access_token, options={"verify_signature": False})
    forged = (
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}.",
        f"{ada.access_token}=",
        jwt.encode(claims, "another secret, of 32 bytes at least", "HS256", headers={"typ": "at+jwt"}),
        jwt.encode(claims, "a secret of tests, of 32 bytes at least", "HS256"),  # not marked as access token
        jwt.encode(
            claims | {"sub": "x"}, "a secret of tests, of 32 bytes at least", "HS256", headers={"typ": "at+jwt"}
        ),
        ada.refresh_token,
        "x",
        "é",
    )
    for token in forged:
        assert await status_of(server, f"Bearer {token}") == (401, f'{CHALLENGE}, error="invalid_token"')


async def test_token_of_another_user_is_another_users(server: Server) -> None:
    """Tokens that many use at once stay whose they are."""
    users = [await server.member() for _ in range(5)]

    async def me(user: Login) -> str:
        return str((await server.json("GET", "/v1/users/me", user))["id"])

    for _ in range(3):
        assert await asyncio.gather(*(me(user) for user in users)) == [user.id for user in users]


# How soon


async def deactivate(server: Server, admin: Login, ada: Login) -> None:
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"active": False})


async def delete(server: Server, admin: Login, ada: Login) -> None:
    async with server.request("DELETE", f"/v1/users/{ada.id}", admin) as answer:
        assert answer.status == 204


async def log_out(server: Server, admin: Login, ada: Login) -> None:
    async with server.request("POST", "/v1/auth/logout", ada) as answer:
        assert answer.status == 204


@pytest.mark.parametrize("end", [deactivate, delete, log_out])
async def test_remembered_token_ends_at_once(
    server: Server, end: Callable[[Server, Login, Login], Awaitable[None]]
) -> None:
    """A token that was just used is refused by the very next request after its access ended, and renews nothing."""
    admin, ada = await server.admin(), await server.member("ada")
    for _ in range(2):
        await server.json("GET", "/v1/users/me", ada)
    await end(server, admin, ada)

    assert await status_of(server, f"Bearer {ada.access_token}") == (401, f'{CHALLENGE}, error="invalid_token"')
    await server.json("PATCH", f"/v1/users/{ada.id}", ada, status=401, json={"name": "x"})
    await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": ada.refresh_token})
    await server.json("GET", "/v1/users/me", admin)


async def test_role_reaches_a_remembered_token_at_once(server: Server) -> None:
    """What a token may do follows its user's role from the very next request on, up and down."""
    admin, ada = await server.admin(), await server.member("ada")
    for role, status in (("admin", 200), ("member", 403), ("admin", 200)):
        await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": role})
        await server.json("GET", "/v1/users", ada, status=status)
        await server.json("GET", f"/v1/users/{admin.id}", ada, status=200 if role == "admin" else 404)


async def test_reactivation_needs_a_new_login(server: Server) -> None:
    """Sessions that a deactivation ended do not come back with the account."""
    admin, ada = await server.admin(), await server.member("ada")
    await deactivate(server, admin, ada)
    await server.json("POST", "/v1/auth/login", status=401, json={"login": "ada", "password": PASSWORD})
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"active": True})

    await server.json("GET", "/v1/users/me", ada, status=401)
    await server.log_in("ada")


async def test_ending_one_user_leaves_the_others(server: Server) -> None:
    """However many end, everybody else's tokens go on."""
    admin, ada = await server.admin(), await server.member("ada")
    for user in [await server.member() for _ in range(5)]:
        await server.json("GET", "/v1/users/me", user)
        await delete(server, admin, user)
        await server.json("GET", "/v1/users/me", ada)
