"""Registering with an address that is proven, and passwords that were forgotten, over HTTP and on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.domain.ports import Hasher
from service.http.services import SERVICES
from tests.support.mail import Mails, token_in
from tests.support.server import ADMIN_PASSWORD, PASSWORD, Login, Server, serve
from tests.support.wait import until

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
BOB = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
NEW = "another good one"


@pytest.fixture
def mails(caplog: pytest.LogCaptureFixture) -> Mails:
    return Mails(caplog)


@pytest.fixture
async def server(store_url: str) -> AsyncIterator[Server]:
    """One whose registrations are verified, on each store."""
    async with serve(store_url=store_url, registration="verify") as running:
        yield running


async def register(server: Server, **fields: Any) -> Any:
    return await server.json("POST", "/v1/auth/register", status=202, json=ADA | fields)


async def forgot(server: Server, email: str) -> Any:
    return await server.json("POST", "/v1/auth/forgot", status=202, json={"email": email})


async def verify(server: Server, token: str, password: str | None = PASSWORD, *, status: int = 204) -> Any:
    body = {"token": token} | ({} if password is None else {"password": password})
    return await server.json("POST", "/v1/auth/verify", status=status, json=body)


async def reset(server: Server, token: str, password: str = NEW, *, status: int = 204) -> Any:
    return await server.json("POST", "/v1/auth/reset", status=status, json={"token": token, "password": password})


async def logs_in(server: Server, login: str, password: str = PASSWORD) -> bool:
    async with server.request("POST", "/v1/auth/login", json={"login": login, "password": password}) as answer:
        assert answer.status in (200, 401)
        return answer.status == 200


async def settled(server: Server) -> None:
    """All that was asked for has been done, and every mail that was due has been sent."""
    store, clock = server.app[SERVICES].store, server.app[SERVICES].clock

    async def nothing_is_due() -> bool:
        return not await store.mails.list_due(clock(), 1)

    await until(lambda: not server.app[SERVICES].mail_worker._waiting)
    await until(nothing_is_due)


# Registering


async def test_address_is_confirmed(server: Server, mails: Mails) -> None:
    """A new user cannot log in before the token from the mail was sent back; it works once."""
    await register(server)
    token = token_in((await mails.newest("ada@example.com")).text)
    assert not await logs_in(server, "ada")
    await verify(server, token)
    ada = await server.log_in("ada")
    problem = await verify(server, token, status=400)

    assert problem["type"] == "/problems/invalid-mail-token"
    events = (await server.json("GET", "/v1/events", ada))["items"]
    assert [(event["type"], event["user"] and event["user"]["active"]) for event in events] == [
        ("user.created", False),
        ("user.updated", True),
    ]
    assert events[1]["changed"] == ["active"]


async def test_every_registration_answers_the_same(server: Server, mails: Mails) -> None:
    """A free address, one with an account, a taken username: status, headers and body are alike, and none costs a hash."""
    await server.json("POST", "/v1/users", await server.admin(), status=201, json=BOB)
    hashed = _count_hashes(server)
    said = set()
    for fields in ({}, {"email": BOB["email"]}, {"email": "eve@example.com", "username": "bob"}):
        async with server.request("POST", "/v1/auth/register", json=ADA | fields) as answer:
            names = frozenset(answer.headers) - {"X-Request-Id", "Date"}
            said.add((answer.status, names, answer.headers["Content-Length"], await answer.text()))
        await settled(server)

    assert len(said) == 1
    assert hashed == []
    assert (await mails.newest("ada@example.com")).subject == "Confirm your address"
    known = await mails.newest("bob@example.com")
    assert known.subject == "You have an account already"
    assert "username is bob" in known.text
    assert (await mails.newest("eve@example.com")).subject == "Choose another username"
    assert not await logs_in(server, "eve@example.com")


async def test_registration_keeps_the_rules_before_it_looks(server: Server, mails: Mails) -> None:
    """Broken rules are 422 whether the address exists, and no mail is sent then."""
    for fields in ({"password": "short"}, {"role": "admin"}, {"email": "ada"}):
        await server.json("POST", "/v1/auth/register", status=422, json=ADA | fields)
    await settled(server)

    assert mails.to("ada@example.com") == []


async def test_repeated_registration_does_not_end_the_first(server: Server, mails: Mails) -> None:
    """A stranger who registers the same address changes nothing and has no second mail sent within minutes."""
    await register(server)
    token = token_in((await mails.newest("ada@example.com")).text)
    await register(server, username="eve")
    await settled(server)
    assert len(mails.to("ada@example.com")) == 1
    await verify(server, token)

    assert await logs_in(server, "ada")
    assert not await logs_in(server, "eve")


async def test_holder_of_the_mailbox_sets_the_password(server: Server, mails: Mails) -> None:
    """A password sent with the registration opens nothing: the account has the one that is sent with the token."""
    await register(server, password="the password of eve")
    await verify(server, token_in((await mails.newest("ada@example.com")).text), NEW)

    assert await logs_in(server, "ada", NEW)
    assert not await logs_in(server, "ada", "the password of eve")


async def test_registration_takes_no_password_where_the_mail_sets_it(server: Server, mails: Mails) -> None:
    """With `verify` the password may be left out; with `open` it is required."""
    body = {"username": "ada", "email": "ada@example.com"}
    await server.json("POST", "/v1/auth/register", status=202, json=body)
    await mails.newest("ada@example.com")
    async with serve() as other:
        problem = await other.json("POST", "/v1/auth/register", status=422, json=body)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/password", "missing")]


async def test_registration_token_without_a_good_password_stays_valid(server: Server, mails: Mails) -> None:
    """Missing, or one of the commonest: 422 at `/password`, without a hash; the next try with the token works."""
    await register(server)
    token = token_in((await mails.newest("ada@example.com")).text)
    hashed = _count_hashes(server)
    for password, code in ((None, "missing"), ("ada12345", "password_too_common")):
        problem = await verify(server, token, password, status=422)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/password", code)]
    assert hashed == []
    await verify(server, token)


async def test_unconfirmed_accounts_go_away(store_url: str, mails: Mails) -> None:
    """When the token has expired it confirms nothing, and its username is another's to have."""
    async with serve(store_url=store_url, registration="verify", verify_ttl_s=1) as server:
        await register(server)
        token = token_in((await mails.newest("ada@example.com")).text)
        await asyncio.sleep(1)  # what is tested is that time passes
        await verify(server, token, status=400)
        await register(server, email="eve@example.com")
        await verify(server, token_in((await mails.newest("eve@example.com")).text))
        assert await logs_in(server, "eve@example.com")
        await verify(server, token, status=400)
        assert not await logs_in(server, "ada@example.com")


async def test_administrators_confirm_as_well(server: Server, mails: Mails) -> None:
    """The token sets the password of an account that an administrator has activated, and ends when it is deactivated."""
    admin = await server.admin()
    await register(server)
    await register(server, **BOB)
    tokens = [token_in((await mails.newest(f"{name}@example.com")).text) for name in ("ada", "bob")]
    for name in ("ada", "bob"):
        (user,) = (await server.json("GET", f"/v1/users?q={name}@", admin))["items"]
        await server.json("PATCH", f"/v1/users/{user['id']}", admin, json={"active": True})
    assert not await logs_in(server, "ada")
    await verify(server, tokens[1])
    assert await logs_in(server, "bob")
    token, (ada,) = tokens[0], (await server.json("GET", "/v1/users?q=ada@", admin))["items"]
    await server.json("PATCH", f"/v1/users/{ada['id']}", admin, json={"active": False})
    await verify(server, token, status=400)

    assert not await logs_in(server, "ada")


async def test_registrations_at_once_make_one_account(server: Server, mails: Mails) -> None:
    """However many register the same address at the same time, one account is there, and the newest token confirms it."""
    await asyncio.gather(*(register(server, username=f"ada{number}") for number in range(8)))
    await settled(server)
    found = (await server.json("GET", "/v1/users?q=ada@example.com", await server.admin()))["items"]

    assert len(found) == 1
    await verify(server, token_in(mails.to("ada@example.com")[-1].text))
    assert await logs_in(server, found[0]["username"])


# Forgotten passwords


@pytest.fixture
async def ada(server: Server) -> Any:
    """An account that may log in."""
    return await server.json("POST", "/v1/users", await server.admin(), status=201, json=ADA)


@pytest.mark.usefixtures("ada")
async def test_forgotten_password_is_reset(server: Server, mails: Mails) -> None:
    """The token from the mail sets a new password once, ends every session, and the owner is notified."""
    login = await server.log_in("ada")
    await forgot(server, "ADA@example.com")
    token = token_in((await mails.newest("ada@example.com")).text)
    await reset(server, token)

    assert (await mails.newest("ada@example.com", 2)).subject == "Your password was changed"
    await server.json("GET", "/v1/users/me", login, status=401)
    await server.json("POST", "/v1/auth/refresh", status=400, json={"refresh_token": login.refresh_token})
    assert not await logs_in(server, "ada")
    assert await logs_in(server, "ada", NEW)
    assert (await reset(server, token, status=400))["type"] == "/problems/invalid-mail-token"


@pytest.mark.usefixtures("ada")
async def test_reset_ends_api_tokens(server: Server, mails: Mails) -> None:
    """The holder of the former password may have created them."""
    program = await server.token(await server.log_in("ada"), "profile")
    await forgot(server, "ada@example.com")
    await server.json("GET", "/v1/users/me", program)
    await reset(server, token_in((await mails.newest("ada@example.com")).text))
    await server.json("GET", "/v1/users/me", program, status=401)


async def test_every_address_is_answered_the_same(server: Server, ada: Any, mails: Mails) -> None:
    """Known, unknown, inactive, not confirmed: status, headers and body are alike, no hash is made, and only the first gets a mail."""
    admin = await server.admin()
    idle = await server.json("POST", "/v1/users", admin, status=201, json=BOB | {"active": False})
    await register(server, username="eve", email="eve@example.com")
    await settled(server)
    hashed = _count_hashes(server)
    said = set()
    for email in (ada["email"], "absent@example.com", idle["email"], "eve@example.com"):
        async with server.request("POST", "/v1/auth/forgot", json={"email": email}) as answer:
            names = frozenset(answer.headers) - {"X-Request-Id", "Date"}
            said.add((answer.status, names, answer.headers["Cache-Control"], await answer.text()))
    await settled(server)

    assert len(said) == 1
    assert said.pop()[0] == 202
    assert hashed == []
    assert (await mails.newest(ada["email"])).subject == "Set a new password"
    assert mails.to("absent@example.com") == mails.to(idle["email"]) == []
    assert len(mails.to("eve@example.com")) == 1


@pytest.mark.usefixtures("ada")
async def test_repeated_request_leaves_the_token(server: Server, mails: Mails) -> None:
    """A stranger who asks again has no second mail sent within minutes, and the link in the first one works."""
    await forgot(server, "ada@example.com")
    token = token_in((await mails.newest("ada@example.com")).text)
    await settled(server)
    await forgot(server, "ada@example.com")
    await settled(server)
    assert len(mails.to("ada@example.com")) == 1
    await reset(server, token)


@pytest.mark.usefixtures("ada")
async def test_token_serves_its_purpose_alone(server: Server, mails: Mails) -> None:
    """A token to confirm resets nothing and the other way round; what is none, or altered, does nothing."""
    await forgot(server, "ada@example.com")
    token = token_in((await mails.newest("ada@example.com")).text)
    await register(server, username="eve", email="eve@example.com")
    confirming = token_in((await mails.newest("eve@example.com")).text)
    other = "A" if token[-1] != "A" else "B"
    hashed = _count_hashes(server)
    for wrong in (
        confirming,
        token[:-1] + other,
        token[:-1],
        token + "A",
        token.replace(token[0], "\u0410", 1),
        "x",
        "\0",
    ):
        await reset(server, wrong, status=400)
    await verify(server, token, status=400)
    assert hashed == []  # a request without a valid token causes no work

    await verify(server, confirming)
    await reset(server, token)


@pytest.mark.usefixtures("ada")
async def test_password_that_breaks_a_rule_leaves_the_token(server: Server, mails: Mails) -> None:
    """Too short, too common, or made of the own names: 422, and the token still works."""
    await forgot(server, "ada@example.com")
    token = token_in((await mails.newest("ada@example.com")).text)
    for password in ("short", "password1", "ada12345"):
        problem = await reset(server, token, password, status=422)
        assert [error["pointer"] for error in problem["errors"]] == ["/password"]
    await reset(server, token)


@pytest.mark.parametrize(
    ("method", "change", "afterwards"),
    [("PATCH", {"email": "other@example.com"}, 204), ("PATCH", {"active": False}, 400), ("DELETE", None, 400)],
)
async def test_what_ends_all_sessions_ends_the_token(
    server: Server, ada: Any, mails: Mails, method: str, change: Any, afterwards: int
) -> None:
    """Deactivated meanwhile, or deleted: the token does nothing any more; with another address, nothing while that lasts."""
    admin, path = await server.admin(), f"/v1/users/{ada['id']}"
    await forgot(server, ada["email"])
    token = token_in((await mails.newest(ada["email"])).text)
    await server.json(method, path, admin, status=204 if change is None else 200, json=change)
    await reset(server, token, status=400)
    if change is not None:
        await server.json("PATCH", path, admin, json={"email": ada["email"], "active": True})
    await reset(server, token, status=afterwards)


@pytest.mark.usefixtures("ada")
async def test_token_is_used_by_one(server: Server, mails: Mails) -> None:
    """Of several who use a token at once one sets its password."""
    await forgot(server, "ada@example.com")
    token = token_in((await mails.newest("ada@example.com")).text)
    passwords = [f"{NEW} {number}" for number in range(5)]

    async def use(password: str) -> int:
        body = {"token": token, "password": password}
        async with server.request("POST", "/v1/auth/reset", json=body) as answer:
            return answer.status

    statuses = await asyncio.gather(*map(use, passwords))
    assert sorted(statuses) == [204, 400, 400, 400, 400]
    (right,) = [password for status, password in zip(statuses, passwords, strict=True) if status == 204]
    assert await logs_in(server, "ada", right)


# Another address


async def member(server: Server, username: str) -> Login:
    """One whom an administrator has made: who registers has to be confirmed."""
    body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
    await server.json("POST", "/v1/users", await server.admin(), status=201, json=body)
    return await server.log_in(username)


async def move(server: Server, by: Login, email: str = "new@example.com", *, status: int = 202, **fields: Any) -> Any:
    body = {"email": email, "current_password": PASSWORD} | fields
    return await server.json("POST", "/v1/auth/address", by, status=status, json=body)


async def test_account_moves_to_an_address_that_is_proven(server: Server, mails: Mails) -> None:
    """With the token from the mail to it, once; then it logs in, and the previous address does not, but is notified."""
    ada = await member(server, "ada")
    await move(server, ada)
    token = token_in((await mails.newest("new@example.com")).text)
    assert not await logs_in(server, "new@example.com")
    await verify(server, token, None)
    await verify(server, token, status=400)

    assert await logs_in(server, "new@example.com")
    assert not await logs_in(server, "ada@example.com")
    assert (await mails.newest("ada@example.com")).subject == "Your address was changed"
    assert (await server.json("GET", "/v1/users/me", ada))["email"] == "new@example.com"
    (event,) = (await server.json("GET", "/v1/events?types=user.updated", ada))["items"][-1:]
    assert (event["changed"], event["actor"]) == (["email"], ada.id)


async def test_members_have_no_other_way_where_addresses_are_proven(server: Server) -> None:
    """A patch of the own address names the right way, also for an existing address; administrators need none."""
    admin, ada = await server.admin(), await member(server, "ada")
    await member(server, "bob")
    path = f"/v1/users/{ada.id}"
    for email in ("new@example.com", "bob@example.com"):
        body = {"email": email, "current_password": PASSWORD}
        problem = await server.json("PATCH", path, ada, status=422, json=body)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/email", "unproven")]
    await server.json("PATCH", path, ada, json={"email": "ada@example.com", "name": "Ada"})
    assert (await server.json("PATCH", path, admin, json={"email": "new@example.com"}))["email"] == "new@example.com"


async def test_moving_tells_nothing_of_other_accounts(server: Server, mails: Mails) -> None:
    """A free address, an existing one and the own one get the same response; an owner is notified, and nothing changes."""
    ada = await member(server, "ada")
    await member(server, "bob")
    said = set()
    for email in ("new@example.com", "bob@example.com", "ada@example.com"):
        body = {"email": email, "current_password": PASSWORD}
        async with server.request("POST", "/v1/auth/address", ada, json=body) as answer:
            said.add((answer.status, frozenset(answer.headers) - {"X-Request-Id"}, await answer.text()))
        await settled(server)

    assert len(said) == 1
    assert (await mails.newest("new@example.com")).subject == "Confirm your new address"
    assert (await mails.newest("bob@example.com")).subject == "You have an account already"
    assert (await server.json("GET", "/v1/users/me", ada))["email"] == "ada@example.com"


async def test_moving_needs_the_password(server: Server, mails: Mails) -> None:
    """A stolen access token is not enough."""
    ada = await member(server, "ada")
    problem = await move(server, ada, status=422, current_password="wrong")
    await settled(server)

    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/current_password", "wrong_password")
    ]
    assert mails.to("new@example.com") == []


async def test_address_that_was_taken_meanwhile_is_not_moved_to(server: Server, mails: Mails) -> None:
    """409, and the token stays: the other account may leave the address."""
    admin, ada = await server.admin(), await member(server, "ada")
    await move(server, ada)
    token = token_in((await mails.newest("new@example.com")).text)
    eve = await server.json(
        "POST", "/v1/users", admin, status=201, json={"username": "eve", "email": "new@example.com"}
    )
    await verify(server, token, status=409)
    await server.json("DELETE", f"/v1/users/{eve['id']}", admin, status=204)
    await verify(server, token)


async def test_unconfirmed_registration_does_not_reserve_an_address(server: Server, mails: Mails) -> None:
    """The user who reads the mails of an address gets it: the unconfirmed account with it is deleted."""
    ada = await member(server, "ada2")
    await register(server, email="new@example.com")
    await mails.newest("new@example.com")
    await move(server, ada)
    await verify(server, token_in((await mails.newest("new@example.com", 2)).text))

    assert (await server.json("GET", "/v1/users/me", ada))["email"] == "new@example.com"
    assert (await server.json("GET", "/v1/users?q=ada", await server.admin()))["items"][0]["username"] == "ada2"


@pytest.mark.parametrize("ending", ["DELETE", "deactivated", "password", "again"])
async def test_token_for_an_address_ends_with_its_reason(server: Server, mails: Mails, ending: str) -> None:
    """With the account, its right to log in, its password, and when another address is asked for."""
    admin, ada = await server.admin(), await member(server, "ada")
    await move(server, ada)
    token = token_in((await mails.newest("new@example.com")).text)
    match ending:
        case "DELETE":
            await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=204)
        case "deactivated":
            await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"active": False})
        case "password":
            await server.json("POST", "/v1/auth/password", ada, status=204, json={"current": PASSWORD, "new": NEW})
        case _:
            await move(server, ada, "other@example.com")
            await settled(server)
    await verify(server, token, status=400)


# Over all


async def test_tokens_are_nowhere_but_in_the_mail(server: Server, ada: Any, mails: Mails) -> None:
    """The store keeps the hash of a token, and only once the mail is sent."""
    await forgot(server, ada["email"])
    token = token_in((await mails.newest(ada["email"])).text)
    store, clock = server.app[SERVICES].store, server.app[SERVICES].clock
    await settled(server)

    (kept,) = await store.mail_tokens.list_expired(clock().replace(year=9999), 10)
    assert token not in repr(kept)
    assert [len(digest) for digest in kept.digests] == [32]


async def test_reset_opens_an_account_that_strangers_closed(store_url: str, mails: Mails) -> None:
    """The owner who resets the password gets in from there, while the guessing goes on and though no session is left."""
    async with serve(store_url=store_url, login_limit="2/15 minutes", trusted_proxies=("127.0.0.0/8",)) as server:

        async def enter(client: str, password: str) -> int:
            body = {"login": "ada", "password": password}
            headers = {"X-Forwarded-For": client}
            async with server.request("POST", "/v1/auth/login", json=body, headers=headers) as answer:
                return answer.status

        async def guess() -> list[int]:
            return [await enter(f"198.51.100.{number}", "wrong") for number in range(4)]

        await server.json("POST", "/v1/auth/register", status=201, json=ADA)
        assert await guess() == [401, 401, 429, 429]
        assert await enter("192.0.2.1", PASSWORD) == 429
        await forgot(server, "ada@example.com")
        body = {"token": token_in((await mails.newest("ada@example.com")).text), "password": NEW}
        await server.json("POST", "/v1/auth/reset", status=204, json=body, headers={"X-Forwarded-For": "192.0.2.1"})
        assert await guess() == [401, 401, 429, 429]

        assert [await enter(client, NEW) for client in ("192.0.2.2", "192.0.2.1")] == [429, 200]


async def test_mails_are_limited_per_address_and_network(mails: Mails) -> None:
    """Over the limit an address is refused wherever it is asked from, and a network whatever it asks for or tries."""
    async with serve(trusted_proxies=["127.0.0.0/8"], mail_limit="3/hour", registration="verify") as server:

        async def status(path: str, client: str, **body: str) -> int:
            headers = {"X-Forwarded-For": client}
            async with server.request("POST", f"/v1/auth/{path}", json=body, headers=headers) as answer:
                assert (answer.status == 429) == ("Retry-After" in answer.headers)
                return answer.status

        for number in range(3):
            assert await status("forgot", f"192.0.2.{number}", email="ada@example.com") == 202
        assert await status("forgot", "192.0.2.9", email="ada@example.com") == 429
        assert await status("register", "192.0.2.10", **ADA) == 429
        assert await status("forgot", "192.0.2.11", email="bob@example.com") == 202
        for number in range(3):
            assert await status("reset", "192.0.2.99", token="x", password=NEW) == 400, number
        headers = {"X-Forwarded-For": "192.0.2.99"}
        problem = await server.json("POST", "/v1/auth/verify", status=429, headers=headers, json={"token": "x"})
        assert problem["detail"] == "Too many mails asked for, or tokens from mails tried; come back later."
        for path, body in (
            ("reset", {"token": "x", "password": NEW}),
            ("verify", {"token": "x"}),
            ("forgot", {"email": "eve@example.com"}),
            ("register", ADA | {"email": "eve@example.com"}),
        ):
            assert await status(path, "192.0.2.99", **body) == 429
        await settled(server)


async def test_admin_gets_in_again(mails: Mails) -> None:
    """Where registration is open, forgotten passwords are reset as well."""
    async with serve(mail_link_url="https://app.example.com/mail", public_url="https://roster.example.com") as server:
        await forgot(server, "admin@example.com")
        mail = await mails.newest("admin@example.com")
        token = token_in(mail.text)
        assert f"https://app.example.com/mail#reset={token}\n" in mail.text
        assert "POST https://roster.example.com/v1/auth/reset" in mail.text
        await reset(server, token)
        assert not await logs_in(server, "admin", ADMIN_PASSWORD)
        assert await logs_in(server, "admin", NEW)


def _count_hashes(server: Server) -> list[str]:
    """Every password that is hashed or checked from now on."""
    hasher: Hasher = server.app[SERVICES].hasher
    seen: list[str] = []
    hash_, verify_ = hasher.hash, hasher.verify

    async def hashing(password: str) -> str:
        seen.append(password)
        return await hash_(password)

    async def verifying(password_hash: str | None, password: str) -> bool:
        seen.append(password)
        return await verify_(password_hash, password)

    hasher.hash, hasher.verify = hashing, verifying  # type: ignore[method-assign]  # of this one hasher
    return seen
