"""`roster keys …` and `roster token check`, as a person meets them."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import asyncpg
import jwt
import pytest

from service.http.services import SERVICES
from tests.support.command import run_command
from tests.support.keys import SECRET, a_key
from tests.support.places import LASTING, NewPlace
from tests.support.server import Login, Server, serve
from tests.support.wait import until


@pytest.fixture(params=LASTING)
async def url(request: pytest.FixtureRequest, new_place: NewPlace) -> str:
    """A store that outlives its service; empty."""
    return await new_place(request.param)


@pytest.fixture
async def service(url: str) -> AsyncIterator[Server]:
    """One that runs beside the commands."""
    async with serve(store_url=url, jwt_secret="") as server:
        yield server


async def roster(url: str, *command: str, stdin: str = "", **settings: str) -> tuple[int, str]:
    """What `roster` ends with, and what it says."""
    return await run_command(*command, stdin=stdin, ROSTER_STORE_URL=url, **settings)


@pytest.mark.parametrize("kind", LASTING)
async def test_first_key_is_made_by_the_service(new_place: NewPlace, kind: str) -> None:
    """Before it was started there are no tables, and the commands say so; then it signs."""
    url = await new_place(kind, empty=True)
    code, text = await roster(url, "keys", "list")
    assert (code, text.startswith("roster: ")) == (1, True)
    async with serve(store_url=url, jwt_secret="") as server:
        kid = server.app[SERVICES].keyring.signing.kid
        assert await roster(url, "keys", "list") == (0, f"{kid:<43}  HS256  signs\n")


async def test_next_key_is_known_before_it_signs(service: Server, url: str) -> None:
    """A running service publishes it within a few seconds, and goes on signing with the one before it until its time."""
    first = service.app[SERVICES].keyring.signing.kid
    code, text = await roster(url, "keys", "rotate", "--algorithm", "ES256")
    match = re.fullmatch(r"(\S{43})  ES256  signs from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", text)
    assert code == 0
    assert match is not None, text
    await until(lambda: service.app[SERVICES].keyring.published)
    ((published,),) = (await service.json("GET", "/.well-known/jwks.json")).values()
    assert (published["kid"], service.app[SERVICES].keyring.signing.kid) == (match[1], first)

    _, listed = await roster(url, "keys", "list")
    assert [line.split()[:3] for line in listed.splitlines()] == [
        [first, "HS256", "signs"],
        [match[1], "ES256", "signs"],
    ]
    assert " signs from " in listed.splitlines()[1]

    found = await service.json("GET", "/v1/audit?action=keys.rotated", await service.admin())
    assert [(entry["component"], entry["details"]) for entry in found["items"]] == [
        ("command", {"kid": match[1], "at_once": False})
    ]


async def test_keys_can_be_replaced_at_once(service: Server, url: str) -> None:
    """A stolen key is useless within seconds: its tokens are rejected and its streams end, and a refresh continues the session."""
    ada = await service.member("ada")
    async with service.feed(ada) as stream:
        await stream.expect("hello")
        code, text = await roster(url, "keys", "rotate", "--at-once")
        assert (code, text.endswith("  HS256  signs\n")) == (0, True)
        frame = await stream.expect("closing")
        assert frame.data["reason"] == "expired"

    await service.json("GET", "/v1/users/me", ada, status=401)
    tokens = await service.json("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token})
    assert jwt.get_unverified_header(tokens["access_token"])["kid"] == text.split()[0]
    assert (await roster(url, "keys", "list"))[1] == text
    code, text = await roster(url, "token", "check", ada.access_token)
    assert (code, "no key here has the name" in text) == (1, True)


async def test_expired_keys_are_forgotten(service: Server, url: str) -> None:
    """By the rotation after the one that followed them, when no token of theirs can be left."""
    settings = {"ROSTER_ACCESS_TTL_S": "1"}
    first = service.app[SERVICES].keyring.signing.kid
    await roster(url, "keys", "rotate", **settings)
    table = f"UPDATE signing_keys SET signs_from = '2026-01-0{{}}T00:00:00.000000Z' WHERE kid {{}} '{first}'"
    await execute(url, table.format(1, "="), table.format(2, "<>"))
    assert "expired; the next rotation forgets it" in (await roster(url, "keys", "list", **settings))[1]
    await roster(url, "keys", "rotate", **settings)

    code, listed = await roster(url, "keys", "list", **settings)
    assert (code, len(listed.splitlines()), first in listed) == (0, 2, False)


async def execute(url: str, *statements: str) -> None:
    if url.startswith("postgresql:"):
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
        for statement in statements:
            file.execute(statement)


async def test_configured_keys_are_rotated_by_the_operator() -> None:
    """The commands list them, and say how it is done."""
    settings = {"ROSTER_JWT_SECRET": json.dumps([SECRET, "o" * 32]), "ROSTER_JWT_PRIVATE_KEY": a_key("EdDSA").material}
    code, text = await roster("memory://", "keys", "list", **settings)
    assert code == 0
    assert [line.split()[1:] for line in text.splitlines()] == [
        ["EdDSA", "signs"],
        ["HS256", "checks"],
        ["HS256", "checks"],
    ]
    code, text = await roster("memory://", "keys", "rotate", **settings)
    assert (code, "add the next key after them" in text) == (1, True)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("keys", "list"), "memory:// keeps nothing"),
        (("keys", "rotate"), "memory:// keeps nothing"),
        (("keys", "rotate", "--lead", "9"), "10 seconds"),
        (("keys", "rotate", "--algorithm", "none"), "invalid choice"),
        (("keys", "rotate", "--lead", "60", "--at-once"), "not allowed with"),
    ],
)
async def test_impossible_command_is_explained(command: tuple[str, ...], reason: str) -> None:
    """In a sentence, without a traceback."""
    code, text = await roster("memory://", *command)
    assert code != 0
    assert reason in text
    assert "Traceback" not in text


async def test_token_is_explained(service: Server, url: str) -> None:
    """What it is, whose, and whether it would be taken; from an argument or from stdin."""
    ada = await service.member("ada")
    for token, kind in ((ada.access_token, "access token"), (ada.refresh_token, "refresh token")):
        for arguments, stdin in (((token,), ""), (("-",), f"{token}\n")):
            code, text = await roster(url, "token", "check", *arguments, stdin=stdin)
            assert (code, text.startswith(kind), text.endswith("accepted\n")) == (0, True, True), text
            assert f"user      ada, member, {ada.id}\n" in text
    async with service.request("POST", "/v1/auth/ticket", ada) as answer:
        cookie = next(iter(answer.cookies.values())).value
    assert (await roster(url, "token", "check", cookie))[1].startswith("stream cookie")

    second = (await service.json("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token}))[
        "refresh_token"
    ]
    await service.json("POST", "/v1/auth/refresh", json={"refresh_token": second})
    code, text = await roster(url, "token", "check", ada.refresh_token)
    assert (code, "refused: it was used before" in text) == (1, True), text
    # Being looked at is no use of it.
    await service.json("GET", "/v1/auth/sessions", ada)

    await service.json("POST", "/v1/auth/logout", ada, status=204)
    for token in (ada.access_token, ada.refresh_token):
        code, text = await roster(url, "token", "check", token)
        assert (code, text.endswith("roster: refused: its session has ended.\n")) == (1, True), text


async def test_api_token_is_explained(service: Server, url: str) -> None:
    """Its name, whose it is, what for, until when and when it was used; and why it is refused."""
    ada = await service.member("ada")
    made = await service.token(ada, "profile", "rooms:read", name="nightly Ü", expires_in=86_400)
    ended = await service.token(ada, "profile", name="ended")
    code, text = await roster(url, "token", "check", made.access_token)
    assert (code, text.endswith("accepted\n")) == (0, True), text
    assert made.access_token not in text
    assert text.startswith(f"API token  {made.access_token[:11]}…\n")
    for line in (
        'name      "nightly Ü"',
        f"user      ada, member, {ada.id}",
        "scopes    profile rooms:read",
        "used      never",
    ):
        assert f"{line}\n" in text
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.search(rf"^token     {made.refresh_token}, made {moment}, ends {moment}$", text, re.MULTILINE), text

    await service.json("GET", "/v1/users/me", made)
    await until(lambda: used(service, ada))
    assert re.search(rf"^used      last {moment}", (await roster(url, "token", "check", made.access_token))[1], re.M)

    await service.json("DELETE", f"/v1/tokens/{ended.refresh_token}", ada, status=204)
    for token, reason in (
        (ended.access_token, "it is unknown"),
        (made.access_token[:-1], "it was mistyped"),
        (made.access_token[:-1] + "-", "it was mistyped"),
        ("roster_", "it was mistyped"),
    ):
        code, text = await roster(url, "token", "check", token)
        assert (code, f"roster: refused: {reason}" in text) == (1, True), text

    await execute(url, "UPDATE api_tokens SET expires_at = '2026-01-01T00:00:00.000000Z' WHERE name = 'nightly Ü'")
    assert "roster: refused: it has expired." in (await roster(url, "token", "check", made.access_token))[1]


async def used(service: Server, by: Login) -> bool:
    """Whether any API token was used, as far as its user can see."""
    listed = await service.json("GET", "/v1/tokens", by)
    return any(token["last_used_at"] is not None for token in listed["items"])


async def test_api_token_of_whom_is_no_use(service: Server, url: str) -> None:
    """The token of an inactive user is rejected, and scopes that the role lacks are named."""
    admin = await service.admin()
    grace = await service.member("grace")
    role = {"role": "admin"}
    await service.json("PATCH", f"/v1/users/{grace.id}", admin, json=role)
    token = await service.token(await service.log_in("grace"), "profile", "audit:read")
    await service.json("PATCH", f"/v1/users/{grace.id}", admin, json={"role": "member"})
    code, text = await roster(url, "token", "check", token.access_token)
    assert (code, "          of these members have no audit:read\n" in text) == (0, True), text

    await execute(url, "UPDATE users SET active = false WHERE username = 'grace'")
    code, text = await roster(url, "token", "check", token.access_token)
    assert (code, "refused: its user is not active" in text) == (1, True), text


def bent(token: str) -> str:
    header, claims, signature = token.split(".")
    text = base64.urlsafe_b64decode(claims + "==").replace(b'"roster"', b'"others"')
    return f"{header}.{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}.{signature}"


async def test_refusal_has_a_reason(service: Server, url: str) -> None:
    """An operator sees the reason, which the service does not reveal to clients."""
    ada = await service.member("ada")
    session, generation, _ = ada.refresh_token.split(".")
    reasons = {
        ada.access_token + "x": "Signature verification failed",
        bent(ada.access_token): "Signature verification failed",
        f"{session}.{generation}.{'A' * 43}": "its session did not make it",
        f"{'0' * 32}.1.{'A' * 43}": "its session has ended",
        "x": "it is neither",
        "a.b.c": "it is neither",
        "": "it is neither",
    }
    for token, reason in reasons.items():
        code, text = await roster(url, "token", "check", token)
        assert (code, f"roster: refused: {reason}" in text) == (1, True), text
    settings = {"ROSTER_PUBLIC_URL": "https://roster.example.com"}
    assert "Invalid issuer" in (await roster(url, "token", "check", ada.access_token, **settings))[1]


async def test_token_of_a_service_in_memory_is_checked_as_far_as_can_be() -> None:
    """Whether its session is there only that process knows."""
    async with serve(jwt_secret=SECRET) as server:
        token = (await server.member("ada")).access_token
    code, text = await roster("memory://", "token", "check", token, ROSTER_JWT_SECRET=SECRET)
    assert (code, "only the process of the service" in text) == (0, True)
    assert text.endswith("accepted  if its session has not ended\n")


async def test_data_of_a_memory_store_is_out_of_reach() -> None:
    """Neither keys nor sessions nor API tokens can be looked at from another process, and that is what is said."""
    async with serve(jwt_secret="") as server:
        ada = await server.member("ada")
        tokens = (ada.access_token, ada.refresh_token, (await server.token(ada, "profile")).access_token)
    for token in tokens:
        code, text = await roster("memory://", "token", "check", token)
        last = text.splitlines()[-1]
        assert (code, last.startswith("roster: cannot check: with memory:// ")) == (1, True), text
