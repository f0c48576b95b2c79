"""The own account, at a path without its id."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.server import PASSWORD, Login, Server


async def asked(
    server: Server, method: str, by: Login, body: Any = None, **headers: str
) -> tuple[int, Any, str | None]:
    """Status, body and ETag of an answer."""
    async with server.request(method, "/v1/users/me", by, json=body, headers=headers) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None, answer.headers.get("ETag")


async def test_own_account_is_changed_and_deleted(server: Server) -> None:
    """`PATCH` and `DELETE /v1/users/me` do what they do at the path with the id, conditions included."""
    ada = await server.member("ada")
    status, user, tag = await asked(server, "PATCH", ada, {"name": "Ada"})
    assert (status, user["id"], user["name"]) == (200, ada.id, "Ada")
    assert (await server.json("GET", f"/v1/users/{ada.id}", ada)) == user
    assert (await asked(server, "PATCH", ada, {"role": "admin"}))[0] == 403
    assert (await asked(server, "PATCH", ada, {"email": "new@example.com"}))[0] == 422
    status, user, _ = await asked(server, "PATCH", ada, {"email": "new@example.com", "current_password": PASSWORD})
    assert (status, user["email"]) == (200, "new@example.com")

    assert (await asked(server, "DELETE", ada, **{"If-Match": str(tag)}))[0] == 412
    assert (await asked(server, "DELETE", ada))[0] == 204
    assert (await asked(server, "PATCH", ada, {"name": "Ada"}))[0] == 401


async def test_api_token_needs_the_scope_to_change_its_user(server: Server) -> None:
    """`profile`, which lets a program read its account, is not enough."""
    ada = await server.member("ada")
    for scopes, status in ((("profile",), 403), (("users:write",), 200)):
        token = await server.token(ada, *scopes)
        assert (await asked(server, "PATCH", token, {"name": "Ada"}))[0] == status


async def test_last_administrator_cannot_delete_itself(server: Server) -> None:
    """As at the path with its id."""
    assert (await asked(server, "DELETE", await server.admin()))[0] == 409


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_refused_password_names_the_way_to_change_it(server: Server, method: str) -> None:
    """A client that sends `password` with its account is sent to the operation that changes it."""
    ada = await server.member("ada")
    body = {"username": "ada", "email": "ada@example.com", "password": "another horse battery"}
    problem = await server.json(method, f"/v1/users/{ada.id}", ada, status=422, json=body)
    (error,) = problem["errors"]
    assert error["pointer"] == "/password"
    assert "`POST /v1/auth/password`" in error["detail"]


async def test_refused_method_names_the_way_to_change_a_password(server: Server) -> None:
    """405 at `/v1/users/me` names the operation that changes the password."""
    problem = await server.json("PUT", "/v1/users/me", await server.member("ada"), status=405, json={"password": "x"})
    assert "`POST /v1/auth/password`" in problem["detail"]


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/users/{id}"])
async def test_change_with_a_present_tag_in_if_none_match_is_412(server: Server, path: str) -> None:
    """RFC 9110, 13.1.2: `*` and the present tag, strong or weak, forbid a change; other tags do not. A date forbids nothing,
    because a user has no `Last-Modified` (13.1.4)."""
    ada = await server.member("ada")
    path = path.format(id=ada.id)
    async with server.request("GET", path, ada) as answer:
        tag, before = answer.headers["ETag"], await answer.json()
    requests: list[tuple[str, Any]] = [("PATCH", {"name": "Ada"}), ("DELETE", None)]
    if path != "/v1/users/me":
        requests.append(("PUT", {"username": "ada", "email": "ada@example.com", "name": "Ada"}))
    for method, body in requests:
        for value in ("*", tag, f"W/{tag}", f'"x", {tag}'):
            async with server.request(method, path, ada, json=body, headers={"If-None-Match": value}) as answer:
                assert answer.status == 412
        async with server.request(method, path, ada, json=body, headers={"If-None-Match": "x"}) as answer:
            assert answer.status == 400
    assert await server.json("GET", path, ada) == before

    old = {"If-None-Match": '"x"', "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    async with server.request("PATCH", path, ada, json={"name": "Ada"}, headers=old) as answer:
        assert answer.status == 200
