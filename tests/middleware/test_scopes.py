"""Every operation and every command requires its scope."""

from __future__ import annotations

from typing import Any, get_args

import jwt
import pytest

from service.domain.auth import scopes
from service.domain.auth.scopes import Scope
from service.domain.users.user import Role
from service.http.operations import Access, Operation, Reply
from service.http.services import SERVICES
from service.realtime.commands import COMMANDS
from service.routes import operations
from tests.support.server import Login, Server
from tests.support.sse import Stream
from tests.support.ws import connect

OPERATIONS = list(operations())
OF_MEMBERS = scopes.GRANTABLE & scopes.of("member")
AN_ID = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"
FRAMES: dict[str, dict[str, Any]] = {
    "join": {"room": "lobby"},
    "leave": {"room": "lobby"},
    "broadcast": {"room": "lobby", "data": 1},
    "members": {"room": "lobby"},
    "echo": {"data": 1},
}


def challenge(scope: str) -> str:
    return f'Bearer realm="roster", error="insufficient_scope", scope="{scope}"'


def access_token(server: Server, ada: Login, scope: str) -> Login:
    """Her login with an access token of these scopes alone."""
    claims = jwt.decode(ada.access_token, options={"verify_signature": False})
    header = jwt.get_unverified_header(ada.access_token)
    secret = server.app[SERVICES].settings.jwt_secret.get_secret_value()
    text = jwt.encode(claims | {"scope": scope}, secret, header["alg"], headers=header)
    return Login(ada.id, ada.username, ada.password, text, ada.refresh_token)


async def refusal(server: Server, method: str, path: str, by: Login) -> str | None:
    """The challenge of an answer that refuses for want of a scope; None for any other answer."""
    address = path.format(id=by.id, token_id=AN_ID, room="lobby", slug="not-found")
    headers = {"Accept": "text/event-stream"}
    async with server.request(method, address, by, headers=headers) as answer:
        if answer.status != 403:
            assert answer.status < 500
            return None
        problem = await answer.json()
        if problem["type"] != "/problems/insufficient-scope":
            return None
        assert answer.headers["Cache-Control"] == "no-store"
        assert problem["detail"].endswith(f"{answer.headers['WWW-Authenticate'].split('scope=')[1].strip(chr(34))}.")
        return answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("role", ["member", "admin"])
async def test_every_operation_wants_its_scope(server: Server, role: Role) -> None:
    """With all scopes but its own each operation refuses, and says which; with its own alone none does so."""
    admin = await server.admin() if role == "admin" else await server.member()
    every, useful = set(get_args(Scope)), scopes.of(role)
    for path, method, operation in OPERATIONS:
        if operation.scope is None:
            continue
        others = access_token(server, admin, " ".join(every - {operation.scope}))
        # A scope that a role cannot use is in none of its credentials, and no error names it.
        wanted = challenge(operation.scope) if operation.scope in useful else None
        assert await refusal(server, method, path, others) == wanted, (method, path)
        if operation.id not in ("log_out", "delete_user", "delete_me") and operation.scope in useful:
            own = access_token(server, admin, operation.scope)
            assert await refusal(server, method, path, own) is None, (method, path)


async def test_refusal_comes_before_anything_else_is_looked_at(server: Server) -> None:
    """Credentials without the scope learn nothing about a wrong query, body or id, nor whether a resource exists."""
    ada = await server.token(await server.member("ada"), "aggregate")
    for method, path in (("GET", "/v1/users?limit=x"), ("PATCH", f"/v1/users/{AN_ID}"), ("GET", "/v1/rooms/x/members")):
        async with server.request(method, path, ada, data=b"{") as answer:
            assert answer.status == 403
    async with server.request("GET", "/v1/nothing", ada) as answer:
        assert answer.status == 404


def test_only_the_socket_wants_none() -> None:
    """Every other operation that asks for credentials has a scope: else a token for anything would do for it."""
    free = [operation.id for _, _, operation in OPERATIONS if operation.scope is None]
    asked = {operation.id for _, _, operation in OPERATIONS if operation.access in (Access.BEARER, Access.STREAM)}

    assert asked & set(free) == {"open_websocket"}
    with pytest.raises(TypeError):
        Operation("x", "x", "x", "x", Access.BEARER, {200: Reply("x")})


async def test_login_has_all_that_its_role_has_a_use_for(server: Server) -> None:
    """The claim `scope` of an access token is the list of them (RFC 9068, 2.2.3), and a refresh gives it again."""
    for login, role in ((await server.admin(), "admin"), (await server.member(), "member")):
        renewed = await server.json("POST", "/v1/auth/refresh", json={"refresh_token": login.refresh_token})
        for token in (login.access_token, renewed["access_token"]):
            claims = jwt.decode(token, options={"verify_signature": False})
            assert claims["scope"] == scopes.written(scopes.of(role))


async def test_scope_never_adds_to_a_role(server: Server) -> None:
    """What only administrators may is refused to a member's token with every scope, and another's account is not there."""
    admin, ada = await server.admin(), await server.member("ada")
    program = await server.token(ada, *OF_MEMBERS)
    for method, path in (("GET", "/v1/users"), ("POST", "/v1/users"), ("GET", "/v1/users/export")):
        problem = await server.json(method, path, program, status=403)
        assert problem["type"] == "/problems/forbidden"
    await server.json("GET", f"/v1/users/{admin.id}", program, status=404)
    await server.json("PATCH", f"/v1/users/{ada.id}", program, status=403, json={"role": "admin"})


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "auth"])
async def test_every_command_wants_its_scope(server: Server, name: str) -> None:
    """Over a WebSocket an `error` frame says what is missing, and the connection stays; with the scope it is carried out."""
    ada, wanted = await server.member("ada"), COMMANDS[name].scope
    everything = OF_MEMBERS
    without = await server.token(ada, *(everything - {wanted}))
    async with connect(server, without) as client:
        if name != "join":
            await client.ask("join", room="lobby")
        answer = await client.ask(name, **FRAMES.get(name, {}))
        assert await client.ask("ping") == {"type": "pong"}
        assert answer.get("code") == (None if wanted is None else "insufficient_scope")
        assert wanted is None or answer["detail"].endswith(f" {wanted}.")
    async with connect(server, await server.token(ada, *everything)) as client:
        await client.ask("join", room="lobby")
        assert (await client.ask(name, **FRAMES.get(name, {})))["type"] != "error"


async def test_socket_is_not_renewed_by_less_than_it_uses(server: Server) -> None:
    """A token without the scopes for what is open is refused and the former one goes on; with them it takes its place."""
    ada = await server.member("ada")
    less, enough = await server.token(ada, "profile"), await server.token(ada, "events:read", "rooms:read")
    async with connect(server, ada) as client:
        await client.ask("join", room="lobby")
        await client.ask("subscribe")
        refused = await client.ask("auth", token=less.access_token)
        assert (refused["code"], refused["detail"]) == (
            "insufficient_scope",
            "These credentials were not made for this: it needs the scope events:read rooms:read.",
        )
        assert (await client.ask("broadcast", room="lobby", data=1))["type"] == "sent"
        assert (await client.ask("auth", token=enough.access_token))["type"] == "authenticated"
        assert (await client.ask("broadcast", room="lobby", data=1))["code"] == "insufficient_scope"

        await client.ask("leave", room="lobby")
        await client.ask("unsubscribe")
        assert (await client.ask("auth", token=less.access_token))["type"] == "authenticated"
        assert (await client.ask("subscribe"))["code"] == "insufficient_scope"


async def test_first_frame_may_bring_an_api_token(server: Server) -> None:
    """A WebSocket without credentials takes one in `auth`, with the scopes that it has."""
    program = await server.token(await server.member("ada"), "rooms:read", expires_in=60)
    async with connect(server) as client:
        await client.send("auth", token=program.access_token)
        assert (await client.expect("authenticated"))["expires_at"] is not None
        hello = await client.expect("hello")
        assert hello["user"]["id"] == program.id
        assert (await client.ask("subscribe"))["code"] == "insufficient_scope"


async def test_ticket_is_as_good_as_the_login(server: Server) -> None:
    """A stream that is opened with one has all scopes of the session, whatever the stream is."""
    ada = await server.member("ada")
    for path in ("/v1/feed", "/v1/rooms/lobby/feed"):
        ticket = (await server.json("POST", "/v1/auth/ticket", ada))["ticket"]
        async with server.request("GET", path, params={"ticket": ticket}) as answer:
            assert answer.status == 200
            await Stream(answer).expect("hello")
