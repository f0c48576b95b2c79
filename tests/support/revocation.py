"""The ways in which a user loses access; each is called with the server, an administrator and the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.server import Login, Server


async def promote(server: Server, admin: Login, user: Login) -> None:
    await server.json("PATCH", f"/v1/users/{user.id}", admin, json={"role": "admin"})


async def deactivate(server: Server, admin: Login, user: Login) -> None:
    await server.json("PATCH", f"/v1/users/{user.id}", admin, json={"active": False})


async def delete(server: Server, admin: Login, user: Login) -> None:
    await server.json("DELETE", f"/v1/users/{user.id}", admin, status=204)


async def log_out(server: Server, _: Login, user: Login) -> None:
    await server.json("POST", "/v1/auth/logout", user, status=204)
