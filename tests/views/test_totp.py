"""The second factor, over HTTP and on every store."""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.domain.audit import AuditSource
from service.http.services import SERVICES
from tests.support.mail import Mails, token_in
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.totp import Phone, protect
from tests.support.wait import until

NEW = "another good one"


@pytest.fixture
async def server(store_url: str) -> AsyncIterator[Server]:
    async with serve(store_url=store_url) as running:
        yield running


@pytest.fixture
async def ada(server: Server) -> Login:
    return await server.member("ada")


@pytest.fixture
async def phone(server: Server, ada: Login) -> Phone:
    """That of Ada, whose second factor is on."""
    return await protect(server, ada)


async def log_in(server: Server, otp: Any = ..., *, password: str = PASSWORD, status: int = 200) -> Any:
    """A login of Ada; `...` sends no code."""
    body = {"login": "ada", "password": password} | ({} if otp is ... else {"otp": otp})
    return await server.json("POST", "/v1/auth/login", status=status, json=body)


async def totp(server: Server, by: Login, path: str, *, status: int = 200, **body: Any) -> Any:
    return await server.json("POST", f"/v1/auth/totp{path}", by, status=status, json=body)


async def state(server: Server, by: Login) -> tuple[bool, int]:
    found = await server.json("GET", "/v1/auth/totp", by)
    assert (found["since"] is not None) is found["enabled"]
    return found["enabled"], found["recovery_codes_left"]


def fields(problem: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


def subjects(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Of the mails that Ada got."""
    return {mail.subject for mail in Mails(caplog).to("ada@example.com")}


# Turning it on


async def test_second_factor_is_turned_on(server: Server, ada: Login, caplog: pytest.LogCaptureFixture) -> None:
    """Once a code has shown that the app has the secret: other sessions end, this one stays, and the owner is notified."""
    other = await server.log_in("ada")
    assert await state(server, ada) == (False, 0)
    begun = await totp(server, ada, "", password=PASSWORD)
    assert await state(server, ada) == (False, 0)
    await log_in(server)
    confirmed = await totp(server, ada, "/confirm", otp=Phone(server, ada, begun["secret"], []).shown())

    assert await state(server, ada) == (True, 10)
    assert len(set(confirmed["recovery_codes"])) == 10
    assert parse_qs(urlsplit(begun["uri"]).query) == {"secret": [begun["secret"]], "issuer": ["Roster"]}
    await server.json("GET", "/v1/users/me", other, status=401)
    assert (await Mails(caplog).newest("ada@example.com")).subject == "Your second factor was turned on"
    endings = (await server.json("GET", "/v1/events?types=session.ended", ada))["items"]
    assert {(event["reason"], event["actor"]) for event in endings} == {("second_factor", ada.id)}


async def test_issuer_is_where_the_service_is_reached() -> None:
    """A user with accounts at several services can distinguish their codes."""
    async with serve(public_url="https://roster.example.com") as server:
        begun = await totp(server, await server.member("ada"), "", password=PASSWORD)
    assert begun["uri"].startswith("otpauth://totp/roster.example.com:ada?")


async def test_begun_is_replaced_until_it_is_confirmed(server: Server, ada: Login) -> None:
    """Beginning again makes another secret; one that is on has to be removed first."""
    first, second = [Phone(server, ada, (await totp(server, ada, "", password=PASSWORD))["secret"], []) for _ in "12"]
    problem = await totp(server, ada, "/confirm", otp=first.shown(), status=422)
    assert fields(problem) == [("/otp", "wrong_otp")]
    assert "recovery" not in problem["errors"][0]["detail"]  # there are none yet
    await totp(server, ada, "/confirm", otp=second.shown())

    for path, body in (("", {"password": PASSWORD}), ("/confirm", {"otp": second.shown()})):
        problem = await totp(server, ada, path, **body, status=409)
        assert problem["type"] == "/problems/conflict"
    assert problem["detail"].startswith("The second factor is on already; POST /v1/auth/totp/recovery-codes ")


async def test_begun_is_forgotten_without_a_code(server: Server, ada: Login) -> None:
    """Nothing has to be proven of what was never on; and what is not there cannot be removed."""
    begun = await totp(server, ada, "", password=PASSWORD)
    other = await server.log_in("ada")
    await totp(server, ada, "/remove", password=PASSWORD, status=204)
    code = Phone(server, ada, begun["secret"], []).shown()
    await totp(server, ada, "/confirm", otp=code, status=409)
    await totp(server, ada, "/remove", password=PASSWORD, status=409)
    await totp(server, ada, "/recovery-codes", password=PASSWORD, otp=code, status=409)
    await server.json("GET", "/v1/users/me", other)


async def test_two_confirmations_at_once_make_one(server: Server, ada: Login) -> None:
    """The codes that the user was shown are the valid ones."""
    begun = await totp(server, ada, "", password=PASSWORD)
    code = Phone(server, ada, begun["secret"], []).shown()

    async def one() -> Any:
        async with server.request("POST", "/v1/auth/totp/confirm", ada, json={"otp": code}) as answer:
            return answer.status, await answer.json()

    answers = sorted(await asyncio.gather(*(one() for _ in range(4))), key=lambda answer: answer[0])
    assert [status for status, _ in answers] == [200, 409, 409, 409]
    await log_in(server, answers[0][1]["recovery_codes"][0])


# Logging in


async def test_login_takes_a_code(server: Server, phone: Phone) -> None:
    """Without one the right password answers that it wants one, and a wrong password answers as ever, code or not."""
    problem = await log_in(server, status=401)
    assert problem["type"] == "/problems/otp-required"
    for otp in (..., None, phone.shown(1), "123456"):
        problem = await log_in(server, otp, password="wrong", status=401)
        assert problem["type"] == "/problems/invalid-credentials"
    assert (await log_in(server, None, status=401))["type"] == "/problems/otp-required"
    await log_in(server, await phone.code())


async def test_basic_login_has_no_code(server: Server, phone: Phone) -> None:
    """The response asks for one."""
    basic = {"Authorization": f"Basic {b64encode(f'ada:{PASSWORD}'.encode()).decode()}"}
    async with server.request("POST", "/v1/auth/login", headers=basic) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="roster"'
        assert (await answer.json())["type"] == "/problems/otp-required"


async def test_code_is_not_looked_at_without_a_second_factor(server: Server, ada: Login) -> None:
    """A client may send what it has."""
    await log_in(server, "123456")


async def test_code_is_taken_once(server: Server, phone: Phone) -> None:
    """Not the one that turned it on, not one that logged in, and none that is older than it."""
    used = await phone.code()
    ahead = phone.shown(1)
    await log_in(server, ahead)
    for otp in (ahead, used):
        assert (await log_in(server, otp, status=401))["type"] == "/problems/invalid-otp"


async def test_code_that_turned_it_on_does_not_log_in(server: Server, ada: Login) -> None:
    """It was shown before anything was protected by it."""
    begun = await totp(server, ada, "", password=PASSWORD)
    code = Phone(server, ada, begun["secret"], []).shown()
    await totp(server, ada, "/confirm", otp=code)
    assert (await log_in(server, code, status=401))["type"] == "/problems/invalid-otp"


@pytest.mark.parametrize("paper", [False, True])
async def test_one_of_many_logins_with_one_code_gets_in(server: Server, phone: Phone, paper: bool) -> None:
    """At once, with a code of the app or of the paper."""
    otp = phone.recovery_codes[0] if paper else await phone.code()

    async def one() -> int:
        body = {"login": "ada", "password": PASSWORD, "otp": otp}
        async with server.request("POST", "/v1/auth/login", json=body) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*(one() for _ in range(6)))) == [200, 401, 401, 401, 401, 401]


async def test_recovery_code_logs_in_once(server: Server, phone: Phone, caplog: pytest.LogCaptureFixture) -> None:
    """In any case of letters; the owner is notified, with the number of codes left."""
    code = phone.recovery_codes[3]
    tokens = await log_in(server, code.upper().replace("-", " "))
    problem = await log_in(server, code, status=401)

    assert problem["type"] == "/problems/invalid-otp"
    ada = Login(phone.owner.id, "ada", PASSWORD, tokens["access_token"], tokens["refresh_token"])
    assert await state(server, ada) == (True, 9)
    server.app[SERVICES].mail_worker.wake()
    assert (await Mails(caplog).newest("ada@example.com", 2)).subject == "A recovery code of yours was used"


async def test_codes_of_others_are_worth_nothing(server: Server, phone: Phone) -> None:
    """Of the app or of the paper."""
    bob = await protect(server, await server.member("bob"))
    for otp in (await bob.code(), bob.recovery_codes[0]):
        assert (await log_in(server, otp, status=401))["type"] == "/problems/invalid-otp"
    assert await state(server, bob.owner) == (True, 10)


async def test_inactive_account_is_not_asked_for_a_code(server: Server, phone: Phone) -> None:
    """It answers as one that is not there."""
    await server.json("PATCH", f"/v1/users/{phone.owner.id}", await server.admin(), json={"active": False})
    for otp in (..., phone.recovery_codes[0]):
        assert (await log_in(server, otp, status=401))["type"] == "/problems/invalid-credentials"


async def test_wrong_codes_are_limited_and_missing_ones_are_not(store_url: str) -> None:
    """A login that asks for the code is neither a failure nor a success; a wrong code is a failure."""
    async with serve(store_url=store_url, login_limit="3/hour") as server:
        phone = await protect(server, await server.member("ada"))
        for _ in range(5):
            await log_in(server, status=401)
        for _ in range(2):
            await log_in(server, "000 00", status=401)
            await log_in(server, status=401)
        await log_in(server, phone.recovery_codes[0])
        for _ in range(1 + 3):  # as a stranger, and then as who has a session in this network
            await log_in(server, "000 00", status=401)
        for otp in (phone.recovery_codes[1], ...):
            await log_in(server, otp, status=429)


async def test_logins_are_counted_by_what_became_of_them(server: Server, phone: Phone) -> None:
    """Operators see how many stop at the code."""
    await log_in(server, status=401)
    await log_in(server, "no code", status=401)
    async with server.request("GET", "/metrics") as answer:
        text = await answer.text()
    assert 'roster_logins_total{result="otp_required"} 1.0' in text
    assert 'roster_logins_total{result="invalid_otp"} 1.0' in text
    assert 'roster_second_factors_total{change="on"} 1.0' in text


# What else takes a password


async def test_whatever_asks_for_the_password_asks_for_a_code(server: Server, phone: Phone) -> None:
    """A new password, another address, new recovery codes, turning it off: without a code nothing of it happens."""
    ada = phone.owner
    calls: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/v1/auth/password", {"current": PASSWORD, "new": PASSWORD + "!"}, 204),
        ("POST", "/v1/auth/password", {"current": PASSWORD + "!", "new": PASSWORD}, 204),
        ("PATCH", f"/v1/users/{ada.id}", {"email": "new@example.com", "current_password": PASSWORD}, 200),
        (
            "PUT",
            f"/v1/users/{ada.id}",
            {"username": "ada", "email": "a@example.com", "current_password": PASSWORD},
            200,
        ),
        ("POST", "/v1/auth/address", {"email": "newer@example.com", "current_password": PASSWORD}, 202),
        ("POST", "/v1/auth/totp/recovery-codes", {"password": PASSWORD}, 200),
        ("POST", "/v1/auth/totp/remove", {"password": PASSWORD}, 204),
    ]
    for method, path, body, good in calls:
        problem = await server.json(method, path, ada, status=422, json=body)
        assert fields(problem) == [("/otp", "otp_required")]
        for otp in ("123 45", "١٢٣٤٥٦", phone.shown(-9)):
            problem = await server.json(method, path, ada, status=422, json=body | {"otp": otp})
            assert fields(problem) == [("/otp", "wrong_otp")]
        await server.json(method, path, ada, status=good, json=body | {"otp": await phone.code()})
    assert await state(server, ada) == (False, 0)


async def test_wrong_password_is_refused_before_the_code_is_checked(server: Server, phone: Phone) -> None:
    """And uses no code up."""
    ada, code = phone.owner, phone.recovery_codes[0]
    for path in ("/recovery-codes", "/remove"):
        problem = await totp(server, ada, path, password="wrong", otp=code, status=422)
        assert fields(problem) == [("/password", "wrong_password")]
    body = {"email": "new@example.com", "current_password": "wrong", "otp": code}
    problem = await server.json("PATCH", f"/v1/users/{ada.id}", ada, status=422, json=body)
    assert fields(problem) == [("/current_password", "wrong_password")]
    assert await state(server, ada) == (True, 10)


async def test_other_changes_take_no_code(server: Server, phone: Phone) -> None:
    """Requests without a password need no code, and an administrator who changes another's address proves nothing."""
    ada = phone.owner
    await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada Lovelace"})
    await server.json("PATCH", f"/v1/users/{ada.id}", await server.admin(), json={"email": "new@example.com"})
    await server.json("POST", "/v1/auth/refresh", json={"refresh_token": ada.refresh_token})


async def test_recovery_code_that_moves_an_account_is_mailed_to_the_previous_address(
    server: Server, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    """A thief with the code and the password must not act without the owner's knowledge."""
    body = {"email": "new@example.com", "current_password": PASSWORD, "otp": phone.recovery_codes[0]}
    await server.json("PATCH", f"/v1/users/{phone.owner.id}", phone.owner, json=body)
    await until(lambda: {"A recovery code of yours was used", "Your address was changed"} <= subjects(caplog))


async def test_reset_by_mail_leaves_the_second_factor_on(
    server: Server, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    """A thief who reads the user's mails gets a password, and no code."""
    await server.json("POST", "/v1/auth/forgot", status=202, json={"email": "ada@example.com"})
    token = token_in((await Mails(caplog).newest("ada@example.com", 2)).text)
    await server.json("POST", "/v1/auth/reset", status=204, json={"token": token, "password": NEW})

    assert (await log_in(server, password=NEW, status=401))["type"] == "/problems/otp-required"
    await log_in(server, await phone.code(), password=NEW)


async def test_wrong_tries_count_as_failed_logins(store_url: str) -> None:
    """A stolen token guesses neither passwords nor codes faster than other clients."""
    async with serve(store_url=store_url, login_limit="4/hour") as server:
        ada = await server.member("ada")
        phone = await protect(server, ada)
        await totp(server, ada, "/remove", password=PASSWORD, status=422)
        await totp(server, ada, "/remove", password="wrong", otp=phone.shown(1), status=422)
        await totp(server, ada, "/recovery-codes", password=PASSWORD, otp="000000 ", status=422)
        body = {"current": PASSWORD, "new": NEW, "otp": "00000"}
        await server.json("POST", "/v1/auth/password", ada, status=422, json=body)
        body = {"email": "new@example.com", "current_password": PASSWORD, "otp": "00000"}
        await server.json("PATCH", f"/v1/users/{ada.id}", ada, status=422, json=body)
        await server.json("POST", "/v1/auth/address", ada, status=422, json=body)
        for _ in range(3):  # a session in this network has as many more
            await totp(server, ada, "/remove", password="wrong", otp=phone.shown(1), status=422)
        await totp(server, ada, "/remove", password=PASSWORD, otp=phone.shown(1), status=429)


async def test_guess_of_who_hangs_up_counts(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going away before the answer costs as much as waiting for it: what was wrong is counted all the same."""
    async with serve(store_url=store_url, login_limit="2/hour") as server:
        ada = await server.member("ada")
        phone = await protect(server, ada)
        store, told = server.app[SERVICES].store, server.app[SERVICES].failed_logins
        write, began, go_on = store.write, asyncio.Event(), asyncio.Event()

        async def held(work: Any, by: AuditSource) -> Any:
            if by.client is not None:  # mails are sent meanwhile
                began.set()
                await go_on.wait()
            return await write(work, by)

        monkeypatch.setattr(store, "write", held)
        for _ in range(2 + 2):  # as a stranger, and then as who has a session in this network
            began.clear()
            go_on.clear()
            guess = asyncio.create_task(totp(server, ada, "/remove", password=PASSWORD, otp="000000", status=422))
            await began.wait()
            guess.cancel()
            await asyncio.gather(guess, return_exceptions=True)
            go_on.set()
            await until(lambda: not server.app[SERVICES].tasks._tasks)
        monkeypatch.undo()
        assert told._has_counted
        await totp(server, ada, "/remove", password=PASSWORD, otp=phone.recovery_codes[0], status=429)
        assert await state(server, ada) == (True, 10)


async def test_reset_by_mail_gives_no_new_guesses_at_a_code(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A thief who reads the user's mails could reset the password as often as it likes."""
    async with serve(store_url=store_url, login_limit="2/hour") as server:
        phone = await protect(server, await server.member("ada"))
        for _ in range(2 + 2):
            await log_in(server, "000000", status=401)
        await log_in(server, phone.recovery_codes[0], status=429)
        await server.json("POST", "/v1/auth/forgot", status=202, json={"email": "ada@example.com"})
        token = token_in((await Mails(caplog).newest("ada@example.com", 2)).text)
        await server.json("POST", "/v1/auth/reset", status=204, json={"token": token, "password": NEW})

        await log_in(server, phone.recovery_codes[0], password=NEW, status=429)


# Recovery codes, and turning it off


async def test_new_recovery_codes_replace_the_old(
    server: Server, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them, and the owner is notified; a recovery code does for it as well."""
    renewed = await totp(server, phone.owner, "/recovery-codes", password=PASSWORD, otp=phone.recovery_codes[0])
    assert await state(server, phone.owner) == (True, 10)
    await log_in(server, phone.recovery_codes[1], status=401)
    await log_in(server, renewed["recovery_codes"][1])
    await until(lambda: "Your recovery codes were replaced" in subjects(caplog))


@pytest.mark.parametrize("paper", [False, True])
async def test_second_factor_is_turned_off(
    server: Server, phone: Phone, paper: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a code of the app or of the paper: this session stays, others end, and the password alone logs in."""
    tokens = await log_in(server, await phone.code())
    await totp(
        server,
        phone.owner,
        "/remove",
        password=PASSWORD,
        otp=phone.recovery_codes[0] if paper else await phone.code(),
        status=204,
    )
    await log_in(server)
    await log_in(server, phone.recovery_codes[1])
    assert await state(server, phone.owner) == (False, 0)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    await server.json("GET", "/v1/users/me", headers=headers, status=401)
    await until(lambda: "Your second factor was turned off" in subjects(caplog))


async def test_administrator_removes_anothers(server: Server, phone: Phone, caplog: pytest.LogCaptureFixture) -> None:
    """After the removal the password alone logs in: all sessions end, the user is notified, and a log line names the administrator."""
    admin, ada = await server.admin(), phone.owner
    path = f"/v1/users/{ada.id}/totp"
    await server.json("DELETE", path, admin, status=204)
    await server.json("DELETE", path, admin, status=404)

    await server.json("GET", "/v1/users/me", ada, status=401)
    await log_in(server)
    assert (await Mails(caplog).newest("ada@example.com", 2)).subject == "Your second factor was turned off"
    (line,) = [record for record in caplog.records if record.name == "roster.auth"]
    assert (vars(line)["user"], vars(line)["actor"]) == (ada.id, admin.id)
    async with server.request("GET", "/metrics") as answer:
        assert 'roster_second_factors_total{change="removed"} 1.0' in await answer.text()


async def test_other_users_cannot_remove_it(server: Server, phone: Phone) -> None:
    """Not a member, for any user; not an API token; not an administrator for itself, which takes a code."""
    admin, ada, bob = await server.admin(), phone.owner, await server.member("bob")
    program = await server.token(admin, "users:read", "users:write")
    for by in (ada, bob, program):
        await server.json("DELETE", f"/v1/users/{ada.id}/totp", by, status=403)
    await protect(server, admin)
    await server.json("DELETE", f"/v1/users/{admin.id}/totp", admin, status=403)
    for unknown in (bob.id, "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11", "x"):
        await server.json("DELETE", f"/v1/users/{unknown}/totp", admin, status=404)
    assert await state(server, ada) == (True, 10)


async def test_no_token_of_a_program_has_to_do_with_it(server: Server, phone: Phone) -> None:
    """Whatever scopes it has."""
    program = await server.token(phone.owner, "profile", "users:read", "users:write", "tokens")
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("POST", "/confirm"),
        ("POST", "/recovery-codes"),
        ("POST", "/remove"),
    ):
        problem = await server.json(method, f"/v1/auth/totp{path}", program, status=403)
        assert problem["type"] == "/problems/insufficient-scope"


# Where the secret is not


async def test_secrets_are_shown_once(server: Server, ada: Login, caplog: pytest.LogCaptureFixture) -> None:
    """Answers that hold one are not to be kept; no event, export, log line, mail or problem has any."""
    async with server.request("POST", "/v1/auth/totp", ada, json={"password": PASSWORD}) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        phone = Phone(server, ada, (await answer.json())["secret"], [])
    async with server.request("POST", "/v1/auth/totp/confirm", ada, json={"otp": phone.shown()}) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        phone.recovery_codes = (await answer.json())["recovery_codes"]
    code = await phone.code()
    await log_in(server, code)
    said = [str(await log_in(server, otp, status=401)) for otp in (code, "no code of mine")]
    await log_in(server, phone.recovery_codes[0])

    admin = await server.admin()
    for path in ("/v1/users/export", "/v1/events", f"/v1/users/{ada.id}", "/metrics"):
        async with server.request("GET", path, admin if path != "/metrics" else None) as answer:
            assert answer.status == 200
            said.append(await answer.text())
    said += [logged(record) for record in caplog.records]
    assert any("Your second factor was turned on" in text for text in said)
    for secret in (phone.secret, *phone.recovery_codes, "no code of mine"):
        assert not any(secret in text for text in said)
    # Six digits in a row are in many a longer number.
    assert not [text for text in said if re.search(rf"(?<![\w.]){code}(?!\.?\w)", text)]


def logged(record: logging.LogRecord) -> str:
    """The content of a log record: the message and the extra fields, without the time and the like."""
    usual = vars(logging.makeLogRecord({}))
    return str([record.getMessage(), {name: value for name, value in vars(record).items() if name not in usual}])


@pytest.mark.parametrize(
    ("otp", "code"),
    [
        (123456, "string_type"),
        (123456.0, "string_type"),
        (True, "string_type"),
        (["123456"], "string_type"),
        ({"code": "123456"}, "string_type"),
        ("", "string_too_short"),
        ("1" * 65, "string_too_long"),
    ],
)
async def test_code_is_a_text(server: Server, phone: Phone, otp: Any, code: str) -> None:
    """A number is no code, because it would have lost its zeros; a broken rule is reported before a password is hashed."""
    problem = await log_in(server, otp, status=422)
    assert fields(problem) == [("/otp", code)]
    body = {"password": PASSWORD, "otp": otp}
    for path in ("/confirm", "/recovery-codes", "/remove"):
        sent = {"otp": otp} if path == "/confirm" else body
        assert ("/otp", code) in fields(await totp(server, phone.owner, path, **sent, status=422))


@pytest.mark.parametrize(
    "otp",
    [
        "12345",
        "1234567",
        "+12345",
        "１２３４５６",
        "١٢٣٤٥٦",
        "12 34 5",
        "\u0000",
        "'; --",
        "0x1234",
        "nan",
        "\u212a" * 24,
    ],
)
async def test_text_that_is_no_code_is_a_wrong_one(server: Server, phone: Phone, otp: str) -> None:
    """Whatever it is made of."""
    assert (await log_in(server, otp, status=401))["type"] == "/problems/invalid-otp"
    assert fields(await totp(server, phone.owner, "/remove", password=PASSWORD, otp=otp, status=422)) == [
        ("/otp", "wrong_otp")
    ]
