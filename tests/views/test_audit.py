"""The audit over HTTP: what is in it, who may read it, and that nothing is forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from service.http.services import SERVICES
from service.routes import operations
from tests.support.mail import mailed
from tests.support.ndjson import NDJSON, ndjson, person, post_import
from tests.support.server import ADMIN_PASSWORD, PASSWORD, Login, Server, serve
from tests.support.totp import Phone, protect
from tests.support.wait import until

PATH = "/v1/audit"
ANOTHER = "another password of hers"


@pytest.fixture
async def kept(store_url: str) -> AsyncIterator[Server]:
    """A service on a store of each kind."""
    async with serve(store_url=store_url) as server:
        yield server


async def items(server: Server, admin: Login, **query: Any) -> list[dict[str, Any]]:
    page = await server.json("GET", PATH, admin, params={"limit": 100, **query})
    found: list[dict[str, Any]] = page["items"]
    return found


async def at_least(server: Server, admin: Login, count: int = 1, **query: Any) -> list[dict[str, Any]]:
    """The matching entries, once there are so many: some operations record theirs after the response."""
    found: list[dict[str, Any]] = []

    async def are_there() -> bool:
        found[:] = await items(server, admin, **query)
        return len(found) >= count

    await until(are_there)
    return found


async def newest(server: Server, admin: Login, **query: Any) -> dict[str, Any]:
    return (await items(server, admin, **query))[0]


async def test_entry_says_who_did_what_from_where(kept: Server) -> None:
    """Actor, subject, address, request, login or API token, and what was changed, without the values of a person's fields."""
    admin, ada = await kept.admin(), await kept.member("ada")
    program = await kept.token(admin, "users:write")
    changes = {"name": "Ada Lovelace", "role": "admin"}
    async with kept.request("PATCH", f"/v1/users/{ada.id}", program, json=changes) as answer:
        name = answer.headers["X-Request-Id"]

    entry = await newest(kept, admin, subject=ada.id)
    made = await newest(kept, admin, action="token.created")

    session = admin.refresh_token.split(".")[0]
    assert entry.pop("id") > 0
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "action": "user.updated",
        "actor": admin.id,
        "subject": ada.id,
        "client": "127.0.0.1",
        "request_id": name,
        "session_id": None,
        "token_id": program.refresh_token,
        "component": None,
        "details": {"changed": ["name", "role"], "role": ["member", "admin"]},
    }
    assert (made["session_id"] or "").replace("-", "") == session.replace("-", "")
    assert made["details"] == {"token_id": program.refresh_token, "scopes": ["users:write"]}
    assert (await items(kept, admin))[-1]["component"] == "start"


async def test_pages_and_lines_have_the_same(kept: Server) -> None:
    """Cursors lead through all of it, newest first, without gap or repeat; NDJSON has it at once, and filters bind both."""
    admin = await kept.admin()
    for _ in range(5):
        await kept.member()
    walked: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 4, "action": "user.created"}
    while True:
        page = await kept.json("GET", PATH, admin, params=query)
        walked += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    params, headers = {"action": "user.created"}, {"Accept": "application/x-ndjson"}
    async with kept.request("GET", PATH, admin, params=params, headers=headers) as answer:
        *lines, end = [json.loads(line) for line in (await answer.text()).splitlines()]
        assert answer.content_type == "application/x-ndjson"

    assert len(walked) == 6
    assert walked == lines
    assert end == {"end": True, "entries": 6}
    assert [entry["id"] for entry in walked] == sorted((entry["id"] for entry in walked), reverse=True)
    moment = walked[2]["at"]
    assert await items(kept, admin, action="user.created", since=moment) == walked[:3]
    assert await items(kept, admin, action="user.created", until=moment) == walked[3:]
    assert await items(kept, admin, actor=admin.id, subject=walked[0]["subject"]) == []


async def test_only_administrators_read_it(server: Server) -> None:
    """A member gets 403, in either form, which does not send it to look for a scope; so does an administrator's token for
    something else, which does."""
    admin, ada = await server.admin(), await server.member("ada")
    for by, kind in (
        (ada, "forbidden"),
        (await server.token(ada, "profile"), "forbidden"),
        (await server.token(admin, "users:read"), "insufficient-scope"),
    ):
        for accept in ("*/*", "application/x-ndjson"):
            problem = await server.json("GET", PATH, by, status=403, headers={"Accept": accept})
            assert problem["type"] == f"/problems/{kind}"
    await server.json("GET", PATH, status=401)
    await server.json("GET", PATH, await server.token(admin, "audit:read"))


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "actor=x", "action=none", "since=yesterday", "until=2026-11-21", "since=20261121T000000Z",
     "cursor=AAAA", "cursor=%20", "since=2026-02-30T00:00:00Z", "until=2026-11-21T09:30:00", "q=x"],
)  # fmt: skip
async def test_wrong_questions_are_400(server: Server, query: str) -> None:
    """A parameter that is not what it must be is named; nothing of it reaches the store."""
    await server.json("GET", f"{PATH}?{query}", await server.admin(), status=400)


async def test_cursor_belongs_to_its_question(server: Server) -> None:
    """A cursor of another filter, or of another list, is refused."""
    admin = await server.admin()
    await server.member()
    audit = (await server.json("GET", PATH, admin, params={"limit": 1}))["next"]
    users = (await server.json("GET", "/v1/users", admin, params={"limit": 1}))["next"]
    for path, cursor in ((f"{PATH}?action=user.created", audit), (f"{PATH}?", users), ("/v1/users?", audit)):
        await server.json("GET", f"{path}&cursor={cursor}", admin, status=400)


@pytest.mark.parametrize("year", ["0001", "9999"])
async def test_ends_of_time_are_moments(server: Server, year: str) -> None:
    """Any moment that can be written bounds a question, in any zone."""
    admin = await server.admin()
    for zone in ("Z", "%2B23:59", "-23:59"):
        found = await server.json("GET", f"{PATH}?since={year}-01-01T00:00:00{zone}", admin)
        assert bool(found["items"]) == (year == "0001")


# Failed logins


async def log_in(server: Server, login: str, status: int, password: str = "wrong") -> None:
    await server.json("POST", "/v1/auth/login", status=status, json={"login": login, "password": password})


async def test_failed_logins_are_recorded_as_counts(server: Server) -> None:
    """By account and network; what was tried as a name is nowhere, because it may be a password."""
    admin, ada = await server.admin(), await server.member("ada")
    for login in ("ada", "ada@example.com", "my secret password", "another of mine"):
        await log_in(server, login, 401)
    body = {"current": "wrong", "new": ANOTHER}
    await server.json("POST", "/v1/auth/password", ada, status=422, json=body)
    found: list[dict[str, Any]] = []

    async def are_recorded() -> bool:
        await server.app[SERVICES].failed_logins.write()  # else a minute after the first
        found[:] = await items(server, admin, action="login.failed")
        return bool(sum(entry["details"]["failed"] for entry in found) == 5)

    await until(are_recorded)
    told: dict[str | None, int] = {}
    for entry in found:
        assert (entry["actor"], entry["client"], entry["request_id"]) == (None, "127.0.0.1", None)
        told[entry["subject"]] = told.get(entry["subject"], 0) + entry["details"]["failed"]
    assert told == {ada.id: 3, None: 2}
    assert not re.search(r"secret|another of|\"ada", json.dumps(found))


async def test_single_failed_login_is_recorded(server: Server) -> None:
    """Soon after the first failure of a quiet minute, in the background."""
    admin = await server.admin()
    await log_in(server, "absent", 401)
    (entry,) = await at_least(server, admin, action="login.failed")
    assert entry["details"]["failed"] == 1


async def test_stop_writes_what_failed(tmp_path: Path) -> None:
    """Counts that were not written yet are there after a restart."""
    url = f"sqlite:///{tmp_path / 'roster.db'}"
    async with serve(store_url=url) as server:
        for _ in range(3):
            await log_in(server, "absent", 401)
    async with serve(store_url=url) as server:
        found = await items(server, await server.admin(), action="login.failed")
    assert sum(entry["details"]["failed"] for entry in found) == 3


# Nothing is forgotten


class Asked(NamedTuple):
    """A request that writes, before it is sent.

    Attributes:
        by: the sender; None for a client without credentials.
        member: the subject, if it is neither the administrator nor a user that it creates.
    """

    method: str
    path: str
    by: Login | None = None
    body: Any = None
    member: Login | None = None


async def register(server: Server, admin: Login) -> Asked:
    return Asked("POST", "/v1/auth/register", body=person(6, password=PASSWORD))


async def log_in_again(server: Server, admin: Login) -> Asked:
    ada = await server.member("ada")
    return Asked("POST", "/v1/auth/login", body={"login": "ada", "password": PASSWORD}, member=ada)


async def post(server: Server, admin: Login) -> Asked:
    return Asked("POST", "/v1/users", admin, person(7))


async def put(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("PUT", f"/v1/users/{ada.id}", admin, person(8), ada)


async def patch(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("PATCH", f"/v1/users/{ada.id}", admin, {"active": False}, ada)


async def delete(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("DELETE", f"/v1/users/{ada.id}", admin, member=ada)


async def import_(server: Server, admin: Login) -> Asked:
    return Asked("POST", "/v1/users/import", admin, ndjson([person(9)]))


async def log_out(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("POST", "/v1/auth/logout", ada, member=ada)


async def revoke_session(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    found = await server.json("GET", "/v1/auth/sessions", ada)
    return Asked("DELETE", f"/v1/auth/sessions/{found['items'][0]['id']}", ada, member=ada)


async def end_others(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    await server.log_in(ada.username)
    return Asked("DELETE", "/v1/auth/sessions", ada, member=ada)


async def change_password(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("POST", "/v1/auth/password", ada, {"current": PASSWORD, "new": ANOTHER}, ada)


async def make_token(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("POST", "/v1/tokens", ada, {"name": "a program", "scopes": ["profile"]}, ada)


async def revoke_token(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    token = await server.token(ada, "profile")
    return Asked("DELETE", f"/v1/tokens/{token.refresh_token}", ada, member=ada)


async def forgot(server: Server, admin: Login) -> Asked:
    ada = await server.member("ada")
    return Asked("POST", "/v1/auth/forgot", body={"email": "ada@example.com"}, member=ada)


async def reset(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    token = await mailed(server, ada.id, "reset")
    return Asked("POST", "/v1/auth/reset", body={"token": token, "password": ANOTHER}, member=ada)


async def verify(server: Server, admin: Login) -> Asked:
    ada = await server.json("POST", "/v1/users", admin, status=201, json=person(10, active=False))
    token = await mailed(server, ada["id"], "verify")
    return Asked(
        "POST", "/v1/auth/verify", body={"token": token, "password": PASSWORD}, member=Login(ada["id"], "", "", "", "")
    )


async def patch_me(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("PATCH", "/v1/users/me", ada, {"name": "Ada"}, ada)


async def delete_me(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("DELETE", "/v1/users/me", ada, member=ada)


async def change_address(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    body = {"email": "new@example.com", "current_password": PASSWORD}
    return Asked("POST", "/v1/auth/address", ada, body, ada)


async def begin_totp(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    return Asked("POST", "/v1/auth/totp", ada, {"password": PASSWORD}, ada)


async def confirm_totp(server: Server, admin: Login) -> Asked:
    ada = await server.member()
    begun = await server.json("POST", "/v1/auth/totp", ada, json={"password": PASSWORD})
    code = Phone(server, ada, begun["secret"], []).shown()
    return Asked("POST", "/v1/auth/totp/confirm", ada, {"otp": code}, ada)


async def renew_codes(server: Server, admin: Login) -> Asked:
    phone = await protect(server, await server.member())
    body = {"password": PASSWORD, "otp": phone.recovery_codes[0]}
    return Asked("POST", "/v1/auth/totp/recovery-codes", phone.owner, body, phone.owner)


async def remove_totp(server: Server, admin: Login) -> Asked:
    phone = await protect(server, await server.member())
    body = {"password": PASSWORD, "otp": phone.recovery_codes[0]}
    return Asked("POST", "/v1/auth/totp/remove", phone.owner, body, phone.owner)


async def remove_anothers_totp(server: Server, admin: Login) -> Asked:
    phone = await protect(server, await server.member())
    return Asked("DELETE", f"/v1/users/{phone.owner.id}/totp", admin, member=phone.owner)


Role = Literal["admin", "member", "made", "absent"]
Act = Callable[[Server, Login], Awaitable[Asked]]
# Each operation that writes, what is asked, and what the audit says of it then: what was done, by whom, to whom.
WRITES: dict[str, tuple[Act, str, Role, Role]] = {
    "register": (register, "user.created", "made", "made"),
    "log_in": (log_in_again, "session.started", "member", "member"),
    "log_out": (log_out, "session.ended", "member", "member"),
    "change_password": (change_password, "password.changed", "member", "member"),
    "change_address": (change_address, "email_change.requested", "member", "member"),
    "begin_totp": (begin_totp, "second_factor.started", "member", "member"),
    "confirm_totp": (confirm_totp, "second_factor.confirmed", "member", "member"),
    "renew_recovery_codes": (renew_codes, "recovery_codes.renewed", "member", "member"),
    "remove_totp": (remove_totp, "second_factor.removed", "member", "member"),
    "remove_totp_of_user": (remove_anothers_totp, "second_factor.removed", "admin", "member"),
    "verify_address": (verify, "user.updated", "member", "member"),
    "forgot_password": (forgot, "password_reset.requested", "absent", "member"),
    "reset_password": (reset, "password.reset", "member", "member"),
    "end_other_sessions": (end_others, "session.ended", "member", "member"),
    "end_session": (revoke_session, "session.ended", "member", "member"),
    "create_user": (post, "user.created", "admin", "made"),
    "replace_user": (put, "user.updated", "admin", "member"),
    "update_user": (patch, "user.updated", "admin", "member"),
    "update_me": (patch_me, "user.updated", "member", "member"),
    "delete_me": (delete_me, "user.deleted", "member", "member"),
    "delete_user": (delete, "user.deleted", "admin", "member"),
    "import_users": (import_, "import.written", "admin", "absent"),
    "create_token": (make_token, "token.created", "member", "member"),
    "revoke_token": (revoke_token, "token.ended", "member", "member"),
}
# Those that rightly leave nothing.
LEAVE_NOTHING = {
    "refresh_tokens": "goes on with what `session.started` tells of, every few minutes for everybody who is there",
    "create_ticket": "opens one stream of a session that is recorded, and every page requests some",
}


def test_every_operation_that_writes_is_known_here() -> None:
    """The author of an operation states its audit action, or why it has none."""
    assert {one.id for _, _, one in operations() if one.writes} == {*WRITES, *LEAVE_NOTHING}


@pytest.mark.parametrize("name", WRITES)
async def test_what_was_done_is_in_the_audit(server: Server, name: str) -> None:
    """Each operation that writes leaves an entry: who did it to whom, from the address that asked, under the name of its
    request."""
    act, action, actor, subject = WRITES[name]
    admin = await server.admin()
    asked = await act(server, admin)
    headers = {"X-Request-Id": f"this.{name}"} | (NDJSON if isinstance(asked.body, bytes) else {})
    sent = {"data": asked.body} if isinstance(asked.body, bytes) else {"json": asked.body}
    async with server.request(asked.method, asked.path, asked.by, headers=headers, **sent) as answer:
        assert answer.status < 300, await answer.text()
        made = await answer.json() if action == "user.created" else {}

    ids = {"admin": admin.id, "member": asked.member and asked.member.id, "made": made.get("id"), "absent": None}
    found: list[dict[str, Any]] = []

    async def is_recorded() -> bool:
        found[:] = [one for one in await items(server, admin, action=action) if one["request_id"] == f"this.{name}"]
        return bool(found)

    await until(is_recorded)
    (entry,) = found
    assert (entry["actor"], entry["subject"]) == (ids[actor], ids[subject])
    assert (entry["client"], entry["component"]) == ("127.0.0.1", None)
    assert (entry["session_id"] is None) == (asked.by is None)


async def test_import_is_recorded_batch_by_batch(kept: Server) -> None:
    """When it began and what became of it, and an entry a batch; who became an administrator, or lost it, has one of its own."""
    admin = await kept.admin()
    people = [person(number) for number in range(600)]
    await post_import(kept, admin, [*people, person("deputy", role="admin")])
    await post_import(kept, admin, [person("deputy", role="member"), person(3, name="Three")], "?on_conflict=update")
    ended = await at_least(kept, admin, 2, action="import.ended")
    written = await items(kept, admin, action="import.written")
    assert [entry["details"].get("user.created") for entry in written] == [None, 100, 500]
    assert written[2]["details"]["last"] - written[2]["details"]["first"] == 499
    assert len(await items(kept, admin, action="import.started")) == 2
    counts = {"lines": 601, "created": 601, "updated": 0, "skipped": 0, "refused": 0}
    assert ended[1]["details"] == counts
    assert len({entry["request_id"] for entry in (*written[1:], ended[1])}) == 1
    deputy = (await newest(kept, admin, action="user.updated"))["subject"]
    assert [entry["details"] for entry in await items(kept, admin, subject=deputy)] == [
        {"changed": ["role"], "role": ["admin", "member"]},
        {"role": "admin"},
    ]


async def test_audit_holds_no_secret(kept: Server) -> None:
    """Passwords, hashes, tokens, addresses and names are in no entry, whatever was done."""
    admin, ada = await kept.admin(), await kept.member("ada")
    program = await kept.token(ada, "profile", "users:write")
    body = {"email": "ada@elsewhere.example.com", "name": "Ada King", "current_password": PASSWORD}
    await kept.json("PATCH", f"/v1/users/{ada.id}", ada, json=body)
    await kept.json("POST", "/v1/auth/password", ada, status=204, json={"current": PASSWORD, "new": ANOTHER})
    await post_import(kept, admin, [person(1, name="Ada Byron", password_hash=f"$2b$12${'a' * 53}")])
    await log_in(kept, "ada", 401, "a wrong password")
    await kept.app[SERVICES].failed_logins.write()
    phone = await protect(kept, await kept.member("bob"))

    text = json.dumps(await items(kept, admin))
    for secret in (PASSWORD, ANOTHER, ADMIN_PASSWORD, program.access_token, ada.access_token, "example.com", "King",
                   "Byron", "wrong", "$2b$", "argon2", '"ada"', "person1",
                   phone.secret, *phone.recovery_codes, *ada.refresh_token.split(".")[2:]):  # fmt: skip
        assert secret not in text, secret
