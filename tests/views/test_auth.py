"""Registering, logging in, staying in and leaving, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from http.cookies import Morsel, SimpleCookie
from typing import Any

import aiohttp
import pytest

from service.domain.audit import AuditSource
from service.domain.events.query import EventQuery
from service.domain.users.user import Credentials
from service.http.services import SERVICES
from tests.support.server import ADMIN_PASSWORD, PASSWORD, Login, Server, serve
from tests.support.wait import until

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
COOKIE = re.compile("roster_stream_[0-9a-f]{12}")


def basic(login: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()}


async def refresh(server: Server, token: str, *, status: int = 200) -> Any:
    return await server.json("POST", "/v1/auth/refresh", status=status, json={"refresh_token": token})


async def try_login(server: Server, login: str, password: str, **headers: str) -> int:
    body = {"login": login, "password": password}
    async with server.request("POST", "/v1/auth/login", json=body, headers=headers) as answer:
        return answer.status


# Registering


async def test_registration_needs_no_account(server: Server) -> None:
    """A registered user is a member, receives the address of its account, and can log in."""
    async with server.request("POST", "/v1/auth/register", json=ADA | {"name": "Ada", "age": 36}) as answer:
        user = await answer.json()

    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/users/{user['id']}"
    assert answer.headers["ETag"] == f'"{answer.headers["Roster-Position"]}"'
    assert (user["role"], user["active"], user["name"], user["age"]) == ("member", True, "Ada", 36)
    ada = await server.log_in("ada")
    (event,) = (await server.json("GET", "/v1/events?types=user.created", ada))["items"]
    assert (event["actor"], event["subject"], event["user"]) == (ada.id, ada.id, user)


async def test_registration_keeps_the_rules(server: Server) -> None:
    """Broken rules are 422, rights among them; names that are taken 409; nothing is made then."""
    await server.json("POST", "/v1/auth/register", status=201, json=ADA)
    before = await server.app[SERVICES].store.events.read_position()
    for more in ({"role": "admin"}, {"active": True}, {"id": "x"}, {"password": "short"}, {"age": "36"}):
        problem = await server.json("POST", "/v1/auth/register", status=422, json=ADA | more)
        assert [error["pointer"] for error in problem["errors"]] == [f"/{name}" for name in more]
    await server.json("POST", "/v1/auth/register", status=409, json=ADA)

    assert await server.app[SERVICES].store.events.read_position() == before


async def test_registration_can_be_closed() -> None:
    """With closed registration every registration is refused, whatever is sent; administrators create accounts."""
    async with serve(registration="closed") as server:
        for body in (ADA, {}):
            problem = await server.json("POST", "/v1/auth/register", status=403, json=body)
            assert problem["detail"].startswith("Registration is closed")
        await server.json("POST", "/v1/users", await server.admin(), status=201, json=ADA)
        await server.log_in("ada")


async def test_common_passwords_are_refused(server: Server) -> None:
    """A common password, or one of the account's own names, is 422 wherever accounts are created."""
    admin = await server.admin()
    for path, by in (("/v1/auth/register", None), ("/v1/users", admin)):
        for password in ("Password1", "ada12345", "Ada@Example.com", "roster2026"):
            problem = await server.json("POST", path, by, status=422, json=ADA | {"password": password})
            assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
                ("/password", "password_too_common")
            ]


async def test_password_is_one_in_every_unicode_form(server: Server) -> None:
    """A user who registers with one keyboard logs in with another: forms that NFKC makes equal are one password."""
    await server.json(
        "POST", "/v1/auth/register", status=201, json=ADA | {"password": "ca\N{LATIN SMALL LETTER F}e\u0301s \ufb01ve"}
    )
    await server.log_in("ada", "caf\u00e9s five")
    await server.log_in("ada", "cafe\u0301s \uff46ive")


# Logging in


async def test_login_answers_tokens(server: Server) -> None:
    """A login returns an access token, its lifetime, a refresh token and the session; no cache may keep them."""
    await server.member("ada")
    async with server.request(
        "POST", "/v1/auth/login", json={"login": "ADA@example.com", "password": PASSWORD}
    ) as answer:
        tokens = await answer.json()

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "session_id"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await server.json("GET", "/v1/users/me", headers=headers))["username"] == "ada"


async def test_refused_logins_are_alike(server: Server) -> None:
    """Unknown, without password, inactive or wrong: status, headers and words are the same."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.member("idle")
    users = (await server.json("GET", "/v1/users?q=idle", admin))["items"]
    await server.json("PATCH", f"/v1/users/{users[0]['id']}", admin, json={"active": False})
    await server.json("POST", "/v1/users", admin, status=201, json={"username": "bare", "email": "bare@example.com"})
    said = set()
    for login, password in ((ada.username, "wrong"), ("absent", PASSWORD), ("idle", PASSWORD), ("bare", PASSWORD)):
        body = {"login": login, "password": password}
        async with server.request("POST", "/v1/auth/login", json=body) as answer:
            problem = await answer.json()
        del problem["request_id"]
        names = frozenset(answer.headers) - {"X-Request-Id", "Date"}
        said.add((answer.status, names, answer.headers["Cache-Control"], str(problem)))

    assert len(said) == 1
    assert said.pop()[0] == 401


async def test_basic_logs_in(server: Server) -> None:
    """`Authorization: Basic` without a body logs in like a body does, passwords with colons and any letters included."""
    password = "pässwörd: with 🦊:"
    await server.json("POST", "/v1/auth/register", status=201, json=ADA | {"password": password})
    for headers in (basic("ada", password), basic("ada@example.com", password)):
        assert (await server.json("POST", "/v1/auth/login", headers=headers))["token_type"] == "Bearer"
    lower = {"Authorization": basic("ada", password)["Authorization"].replace("Basic", "basic")}
    await server.json("POST", "/v1/auth/login", headers=lower)


async def test_basic_is_refused(server: Server) -> None:
    """Wrong, empty and endless credentials are 401 in Basic, too; what is no Basic at all is 400."""
    await server.member("ada")
    for login, password in (("ada", "wrong"), ("ada", ""), ("", PASSWORD), ("x" * 255, PASSWORD), ("ada", "x" * 1025)):
        await server.json("POST", "/v1/auth/login", status=401, headers=basic(login, password))
    no_colon = base64.b64encode(b"ada").decode()
    not_utf8 = base64.b64encode(b"ada:\xff\xff").decode()
    for given in ("Basic", "Basic ", "Basic !", f"Basic {no_colon}", f"Basic {not_utf8}", "Basic é"):
        await server.json("POST", "/v1/auth/login", status=400, headers={"Authorization": given})


async def test_login_reads_the_credentials_once(server: Server) -> None:
    """Before the transaction that opens the session; as often for a login that is not known."""
    await server.json("POST", "/v1/auth/register", status=201, json=ADA)
    store, reads = server.app[SERVICES].store, list[str]()
    read = store.users.find_by_login

    async def reading(login: str) -> Credentials | None:
        reads.append(login)
        return await read(login)

    store.users.find_by_login = reading  # type: ignore[method-assign]  # of this one store
    for login, password, status in (("ada", PASSWORD, 200), ("ada", "wrong", 401), ("absent", PASSWORD, 401)):
        await server.json("POST", "/v1/auth/login", status=status, json={"login": login, "password": password})
    assert reads == ["ada", "ada", "absent"]


async def test_login_needs_a_login(server: Server) -> None:
    """Without Basic and without a body a login fails; an old access token makes no difference."""
    stale = {"Authorization": "Bearer x"}
    for headers in ({}, stale):
        await server.json("POST", "/v1/auth/login", status=401, headers=headers)
    body = {"login": "admin", "password": ADMIN_PASSWORD}
    await server.json("POST", "/v1/auth/login", headers=stale, json=body)
    await server.json("POST", "/v1/auth/login", status=422, json={"login": "admin"})


async def test_first_admin_logs_in(server: Server) -> None:
    """The administrator of the settings is there from the start."""
    admin = await server.log_in("admin@example.com", ADMIN_PASSWORD)

    assert (await server.json("GET", "/v1/users/me", admin))["role"] == "admin"


async def test_failed_logins_are_limited() -> None:
    """After so many failures an account is closed even to the right password, from wherever, until later."""
    async with serve(login_limit="3/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        await server.json("POST", "/v1/auth/register", status=201, json=ADA)
        for number in range(3):
            assert await try_login(server, "ada", "wrong", **{"X-Forwarded-For": f"192.0.2.{number}"}) == 401
        body = {"login": "Ada", "password": PASSWORD}
        async with server.request(
            "POST", "/v1/auth/login", json=body, headers={"X-Forwarded-For": "192.0.2.9"}
        ) as answer:
            problem = await answer.json()

        assert (answer.status, problem["type"]) == (429, "/problems/too-many-requests")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        shown = server.app[SERVICES].metrics.text()
        assert b'roster_login_throttled_total{kind="account"} 1.0' in shown
        assert b'roster_login_throttled_total{kind="network"} 0.0' in shown
        headers = {"X-Forwarded-For": "192.0.2.9", **basic("ada", PASSWORD)}
        await server.json("POST", "/v1/auth/login", status=429, headers=headers)
        assert await try_login(server, "admin", ADMIN_PASSWORD, **{"X-Forwarded-For": "192.0.2.9"}) == 200


async def test_networks_that_fail_are_limited() -> None:
    """After so many failures from one network it is closed for all accounts; another network is not."""
    async with serve(login_limit="3/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        for number in range(3):
            address = {"X-Forwarded-For": f"2001:db8::{number}"}  # one /64
            assert await try_login(server, f"absent{number}", "wrong", **address) == 401

        assert await try_login(server, "admin", ADMIN_PASSWORD, **{"X-Forwarded-For": "2001:db8::ffff"}) == 429
        assert await try_login(server, "admin", ADMIN_PASSWORD, **{"X-Forwarded-For": "2001:db8:0:1::1"}) == 200


async def test_logins_that_succeed_are_free() -> None:
    """Only failures count against the limit of logins."""
    async with serve(login_limit="2/minute") as server:
        assert [await try_login(server, "admin", ADMIN_PASSWORD) for _ in range(5)] == [200] * 5


async def test_many_guesses_at_once_are_no_more_than_in_a_row() -> None:
    """Guesses under way count as failures: twenty at once get as far as twenty in a row."""
    async with serve(login_limit="3/minute") as server:
        statuses = await asyncio.gather(*(try_login(server, "admin", "wrong") for _ in range(20)))

        assert sorted(statuses) == [401] * 3 + [429] * 17


# Staying in


async def test_refresh_rotates(server: Server) -> None:
    """A refresh token gives the next pair of the same session; the old access token goes on until it expires."""
    ada = await server.member("ada")
    async with server.request("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token}) as answer:
        tokens = await answer.json()

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert tokens["refresh_token"] != ada.refresh_token
    assert tokens["access_token"] != ada.access_token
    for access in (ada.access_token, tokens["access_token"]):
        await server.json("GET", "/v1/users/me", headers={"Authorization": f"Bearer {access}"})
    assert (await refresh(server, tokens["refresh_token"]))["session_id"] == tokens["session_id"]


async def test_lost_answer_can_be_asked_for_again(server: Server) -> None:
    """Two tabs that refresh with one token, at once or one after the other, get the same successor, and both go on."""
    ada = await server.member("ada")
    found = await asyncio.gather(*(refresh(server, ada.refresh_token) for _ in range(5)))

    assert len({tokens["refresh_token"] for tokens in found}) == 1
    await refresh(server, found[0]["refresh_token"])


async def test_reuse_ends_the_session(server: Server) -> None:
    """A refresh token that was used up ends its session for the thief and the owner alike, and the log tells."""
    ada = await server.member("ada")
    await server.json("GET", "/v1/users/me", ada)  # remembered
    second = (await refresh(server, ada.refresh_token))["refresh_token"]
    newest = (await refresh(server, second))["refresh_token"]
    problem = await refresh(server, ada.refresh_token, status=400)

    assert problem["type"] == "/problems/invalid-grant"
    await refresh(server, newest, status=400)
    await server.json("GET", "/v1/users/me", ada, status=401)
    again = await server.log_in("ada")
    (event,) = (await server.json("GET", "/v1/events?types=session.ended", again))["items"]
    assert (event["reason"], event["actor"]) == ("reuse", None)


async def copied(server: Server) -> tuple[Login, str]:
    """Ada, and a refresh token of hers that was used up."""
    ada = await server.member("ada")
    second = (await refresh(server, ada.refresh_token))["refresh_token"]
    await refresh(server, second)
    return ada, ada.refresh_token


def reuses(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "roster.auth"]


async def test_reuse_is_logged_for_the_operator(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """One line names whose session has ended and who asked; every refresh is counted by its result."""
    ada, token = await copied(server)
    body = {"refresh_token": token}
    await server.json("POST", "/v1/auth/refresh", status=400, json=body, headers={"X-Request-Id": "r-1"})
    await refresh(server, token, status=400)  # of a session that has ended already
    await refresh(server, "x", status=400)

    (line,) = reuses(caplog)
    assert (line.levelname, line.getMessage()) == (
        "WARNING",
        "refresh token reused; its session was revoked",
    )
    told = vars(line)
    assert (told["user"], told["client"], told["request_id"]) == (ada.id, "127.0.0.1", "r-1")
    assert told["session"].replace("-", "") == token.split(".")[0]
    assert token.split(".")[2] not in str(told)
    figures = server.app[SERVICES].metrics.text().decode()
    for result, count in (("ok", 2), ("reused", 1), ("invalid_grant", 2)):
        assert f'roster_refreshes_total{{result="{result}"}} {count}.0' in figures


async def test_reuse_is_logged_when_the_client_disconnects(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that disconnects before the response does not suppress the log line."""
    _, token = await copied(server)
    store = server.app[SERVICES].store
    write, began, go_on = store.write, asyncio.Event(), asyncio.Event()

    async def held(work: Any, by: AuditSource) -> Any:
        began.set()
        await go_on.wait()
        return await write(work, by)

    monkeypatch.setattr(store, "write", held)
    asking = asyncio.create_task(refresh(server, token))
    await began.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    go_on.set()
    await until(lambda: reuses(caplog))

    assert 'roster_refreshes_total{result="reused"} 1.0' in server.app[SERVICES].metrics.text().decode()


async def test_made_up_refresh_tokens_end_nothing(server: Server) -> None:
    """Tokens that the session did not make, or that are none, are refused, and the session goes on."""
    ada = await server.member("ada")
    session, generation, mac = ada.refresh_token.split(".")
    newer = (await refresh(server, ada.refresh_token))["refresh_token"]
    forged = (
        f"{session}.{generation}.{'A' * 43}",
        f"{session}.2.{mac}",
        f"{session}.0.{mac}",
        f"{session}.{generation}.{mac}=",
        f"{session.upper()}.{generation}.{mac}",
        f"{'0' * 32}.{generation}.{mac}",
        ada.access_token[:200],
        "x",
    )
    for token in forged:
        await refresh(server, token, status=400)

    await refresh(server, newer)


async def test_refresh_ends_with_logout(server: Server) -> None:
    """After a logout the session renews nothing."""
    ada = await server.member("ada")
    async with server.request("POST", "/v1/auth/logout", ada) as answer:
        assert answer.status == 204
    await refresh(server, ada.refresh_token, status=400)


async def test_session_ends_by_itself() -> None:
    """A session that has expired renews nothing and answers nothing."""
    async with serve(session_ttl_s=1) as server:
        ada = await server.member("ada")
        authenticator = server.app[SERVICES].authenticator
        header = ada.headers["Authorization"]
        assert authenticator.cached(header) is not None
        await until(lambda: authenticator.cached(header) is None)
        await server.json("GET", "/v1/users/me", ada, status=401)
        await refresh(server, ada.refresh_token, status=400)


# Leaving


async def test_logout_ends_access_at_once(server: Server) -> None:
    """After a logout the very next request with the same token is refused, and the stream cookie is taken back."""
    ada, other = await server.member("ada"), await server.log_in("ada")
    await server.json("GET", "/v1/users/me", ada)  # remembered
    before = (await ticket_for(server, ada))[1].partition("=")[0]
    async with server.request("POST", "/v1/auth/logout", ada) as answer:
        cookie = cookie_in(answer.headers["Set-Cookie"])

    assert cookie.key == before
    assert (answer.status, answer.headers["Cache-Control"]) == (204, "no-store")
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/v1")
    await server.json("GET", "/v1/users/me", ada, status=401)
    await server.json("POST", "/v1/auth/logout", ada, status=401)
    await server.json("GET", "/v1/users/me", other)  # another session goes on
    (event,) = (await server.json("GET", "/v1/events?types=session.ended", other))["items"]
    assert (event["reason"], event["subject"]) == ("logout", ada.id)


# Tickets


def cookie_in(header: str) -> Morsel[str]:
    """The stream cookie that this `Set-Cookie` sets."""
    (cookie,) = SimpleCookie(header).values()
    assert COOKIE.fullmatch(cookie.key)
    return cookie


async def ticket_for(server: Server, by: Login) -> tuple[str, str, str]:
    """A ticket, the stream cookie that came with it (`name=value`), and the whole `Set-Cookie`."""
    async with server.request("POST", "/v1/auth/ticket", by) as answer:
        body = await answer.json()
        assert (answer.status, answer.headers["Cache-Control"], body["expires_in"]) == (200, "no-store", 30)
        given = answer.headers["Set-Cookie"]
    cookie = cookie_in(given)
    return body["ticket"], f"{cookie.key}={cookie.value}", given


async def open_with(server: Server, path: str = "/v1/feed?limit=1", **headers: str) -> int:
    """The status of a feed that is opened with these headers, and closed again; no cookies but these are sent."""
    async with (
        aiohttp.ClientSession(server.url, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(path, headers=headers) as answer,
    ):
        return answer.status


async def test_ticket_opens_one_stream(server: Server) -> None:
    """A ticket opens a stream where no header can be sent, once."""
    ada = await server.member("ada")
    ticket, _, _ = await ticket_for(server, ada)

    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 200
    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 401
    assert await open_with(server, "/v1/feed?ticket=nonsense") == 401


async def test_ticket_is_taken_by_one_of_many(server: Server) -> None:
    """Of many that come with one ticket at the same time one gets in."""
    ticket, _, _ = await ticket_for(server, await server.member("ada"))
    statuses = await asyncio.gather(*(open_with(server, f"/v1/feed?ticket={ticket}") for _ in range(5)))

    assert sorted(statuses) == [200] + [401] * 4


async def test_ticket_ends_with_its_session(server: Server) -> None:
    """A ticket of a session that has ended opens nothing."""
    ada = await server.member("ada")
    ticket, cookie, _ = await ticket_for(server, ada)
    async with server.request("POST", "/v1/auth/logout", ada):
        pass

    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 401
    assert await open_with(server, f"/v1/feed?ticket={ticket}", Cookie=cookie) == 401


async def test_tickets_and_cookies_are_for_streams(server: Server) -> None:
    """Neither ticket nor cookie says who asks anywhere but on streams."""
    ticket, cookie, _ = await ticket_for(server, await server.member("ada"))
    for path in ("/v1/users/me", "/v1/events", "/v1/aggregate"):
        assert await open_with(server, f"{path}?ticket={ticket}", Cookie=cookie) == 401

    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 200


async def test_credentials_come_in_one_place(server: Server) -> None:
    """A token in the header and a ticket in the address are one too many (RFC 6750, 2), and use nothing up."""
    ada = await server.member("ada")
    ticket, _, _ = await ticket_for(server, ada)

    assert await open_with(server, f"/v1/feed?ticket={ticket}", **ada.headers) == 400
    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 200


async def test_cookie_is_for_this_origin_and_no_script(server: Server) -> None:
    """The stream cookie is out of reach of scripts and of other sites, and lives as long as the session may."""
    _, _, given = await ticket_for(server, await server.member("ada"))
    cookie = cookie_in(given)

    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/v1", "")
    assert 2_592_000 - 60 < int(cookie["max-age"]) <= 2_592_000  # what is left of the session, refreshed in time
    async with serve(public_url="https://roster.example.com") as behind_tls:
        _, _, given = await ticket_for(behind_tls, await behind_tls.member("ada"))
        assert cookie_in(given)["secure"] is True


async def test_spent_ticket_comes_back_with_the_cookie(server: Server) -> None:
    """EventSource comes back with the same address: the ticket in it is spent, the cookie speaks for it."""
    ticket, cookie, _ = await ticket_for(server, await server.member("ada"))
    for _ in range(3):
        assert await open_with(server, f"/v1/feed?ticket={ticket}", Cookie=cookie) == 200


async def test_cookie_is_taken_from_own_pages_only(server: Server) -> None:
    """A page of another origin, however near, cannot open a stream with a user's cookie."""
    ticket, cookie, _ = await ticket_for(server, await server.member("ada"))
    feed, socket_path = f"/v1/feed?limit=1&ticket={ticket}", f"/v1/ws?ticket={ticket}"
    by_cookie = {"Cookie": cookie}
    own = {"Sec-Fetch-Site": "same-origin"}

    assert await open_with(server, feed) == 200  # spent from now on
    assert await open_with(server, feed, **by_cookie) == 200
    assert await open_with(server, feed, **by_cookie, **own) == 200
    assert await open_with(server, feed, **by_cookie, Origin=server.url, **own) == 200
    for foreign in (
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{server.url}.evil.example"},
        {"Origin": server.url, "Sec-Fetch-Site": "cross-site"},
    ):
        assert await open_with(server, feed, **by_cookie, **foreign) == 403
    async with server.http.ws_connect(socket_path, headers=by_cookie | {"Origin": server.url}) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "hello"
    # Of a WebSocket every browser names the page: none at all cannot be a page of ours either.
    for foreign in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await server.http.ws_connect(socket_path, headers=by_cookie | foreign)
        assert refused.value.status == 403


async def test_made_up_cookies_open_nothing(server: Server) -> None:
    """A refresh token is no cookie, nor is anything that the session did not make."""
    ada = await server.member("ada")
    ticket, cookie, _ = await ticket_for(server, ada)
    assert await open_with(server, f"/v1/feed?ticket={ticket}") == 200
    name = cookie.partition("=")[0]
    for text in (
        f"{name}={ada.refresh_token}",
        cookie[:-1],
        cookie + "A",
        cookie.replace(".1.", ".2."),
        f"{name}=x",
        f"{name}=",
    ):
        assert await open_with(server, f"/v1/feed?ticket={ticket}", Cookie=text) == 401


async def test_cookie_outlives_refreshes(server: Server) -> None:
    """A stream may come back by its cookie after its page has refreshed its tokens many times."""
    ada = await server.member("ada")
    ticket, cookie, _ = await ticket_for(server, ada)
    token = ada.refresh_token
    for _ in range(3):
        token = (await refresh(server, token))["refresh_token"]

    for _ in range(2):
        assert await open_with(server, f"/v1/feed?limit=1&ticket={ticket}", Cookie=cookie) == 200


async def test_nothing_secret_is_kept_in_the_log(server: Server) -> None:
    """No event holds a password, hash, token or ticket."""
    ada = await server.member("ada")
    ticket, cookie, _ = await ticket_for(server, ada)
    async with server.request("POST", "/v1/auth/logout", ada):
        pass
    events = (await server.app[SERVICES].store.events.list_page(EventQuery(0, 100))).events

    for secret in (PASSWORD, "argon2", ada.access_token, ada.refresh_token, ticket, cookie):
        assert secret not in str(events)


async def test_address_logs_in_as_it_was_registered(server: Server) -> None:
    """A user who registers with an address in the ASCII spelling of its domain logs in with that same text."""
    address = "ada@xn--bcher-kva.example"
    await server.json("POST", "/v1/auth/register", status=201, json=ADA | {"email": address})
    await server.log_in(address)


async def test_account_has_one_limit_whatever_it_is_called() -> None:
    """Failures under the username and under the e-mail address are failures of one account."""
    async with serve(login_limit="3/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        await server.json("POST", "/v1/auth/register", status=201, json=ADA)
        for number in range(3):
            assert await try_login(server, "ada", "wrong", **{"X-Forwarded-For": f"192.0.2.{number}"}) == 401

        assert await try_login(server, "ada@example.com", "wrong", **{"X-Forwarded-For": "192.0.2.9"}) == 429
