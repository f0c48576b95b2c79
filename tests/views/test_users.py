"""User accounts over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from yarl import URL

from service.domain.events.query import EventQuery
from service.http.services import SERVICES
from tests.support.mail import Mails
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD, Login, Server
from tests.support.wait import until

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


async def head(server: Server) -> int:
    """Seq of the newest event."""
    return (await server.app[SERVICES].store.events.read_position()).seq


async def events(server: Server, by: Login, after: int = 0) -> list[Any]:
    """The events after a position, from the log's pages."""
    epoch = (await server.app[SERVICES].store.events.read_position()).epoch
    page = await server.json("GET", f"/v1/events?limit=100&after={epoch}-{after}", by)
    return list(page["items"])


async def etag_of(server: Server, by: Login, path: str = "/v1/users/me") -> str:
    async with server.request("GET", path, by) as answer:
        return answer.headers["ETag"]


# Reading


async def test_member_reads_itself(server: Server) -> None:
    """A member reads its own account, with its version as ETag and the position at which that is true."""
    ada = await server.member("ada")

    async with server.request("GET", f"/v1/users/{ada.id}", ada) as answer:
        user = await answer.json()

    position = await server.app[SERVICES].store.events.read_position()
    assert answer.status == 200
    assert {name: user[name] for name in ("id", "username", "email", "name", "age", "role", "active")} == {
        "id": ada.id,
        "username": "ada",
        "email": "ada@example.com",
        "name": "",
        "age": None,
        "role": "member",
        "active": True,
    }
    assert answer.headers["ETag"] == f'"{position.epoch}-{user["version"]}"'
    assert answer.headers["Roster-Position"] == str(position)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Origin"} <= {name.strip() for name in answer.headers["Vary"].split(",")}
    assert await server.json("GET", "/v1/users/me", ada) == user


async def test_position_of_an_answer_moves_with_the_log(server: Server) -> None:
    """The position is that of the log, not of the user: others' changes move it, and the ETag stays."""
    ada = await server.member("ada")
    async with server.request("GET", "/v1/users/me", ada) as before:
        await server.member("bob")
    async with server.request("GET", "/v1/users/me", ada) as after:
        pass

    assert after.headers["ETag"] == before.headers["ETag"]
    assert after.headers["Roster-Position"] != before.headers["Roster-Position"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_another_is_like_one_that_is_not_there(server: Server, method: str) -> None:
    """To a member another's id answers 404 with the very words of an absent one, whatever it wants and sends."""
    ada, admin = await server.member("ada"), await server.admin()
    said = []
    for user_id in (admin.id, str(uuid.uuid4())):
        for headers in ({}, {"If-Match": '"x"'}, {"If-None-Match": "*"}):
            body = {"username": "eve", "email": "eve@example.com"} if method in ("PUT", "PATCH") else None
            async with server.request(method, f"/v1/users/{user_id}", ada, json=body, headers=headers) as answer:
                problem = await answer.json()
                said.append((answer.status, problem["type"], problem["title"], problem["detail"]))
                assert "ETag" not in answer.headers

    assert set(said) == {(404, "/problems/not-found", said[0][2], said[0][3])}


async def test_id_has_one_spelling(server: Server) -> None:
    """Only the id itself is an address, in either case (RFC 9562, 4): no other way to write a UUID."""
    admin = await server.admin()
    bare = admin.id.replace("-", "")
    others = ("0", bare, f"urn:uuid:{admin.id}", f"%7B{admin.id}%7D", f"{bare}----", f"{admin.id}%20", f"{admin.id}%00")
    for spelling in (*others, f"..%2f{admin.id}", f"{admin.id}/", f"{bare[:8]}_{bare[8:]}---", ""):
        await server.json("GET", f"/v1/users/{spelling}", admin, status=404)
    for spelling in (admin.id, admin.id.upper()):
        assert (await server.json("GET", f"/v1/users/{spelling}", admin))["id"] == admin.id


async def test_copy_that_is_still_true_is_not_sent_again(server: Server) -> None:
    """A caller that holds the present version gets 304 without a body, with the headers that it may have to renew."""
    ada = await server.member("ada")
    tag = await etag_of(server, ada)
    for held in (tag, f"W/{tag}", f'"x", {tag}', f'"x",W/{tag} , "y"', "*"):
        async with server.request("GET", "/v1/users/me", ada, headers={"If-None-Match": held}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == tag
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert "Authorization" in answer.headers["Vary"]
            assert "Roster-Position" in answer.headers
    for held in ('"x"', tag.replace("-", "-1"), ""):
        async with server.request("GET", "/v1/users/me", ada, headers={"If-None-Match": held}) as answer:
            assert answer.status == 200

    await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
    async with server.request("GET", "/v1/users/me", ada, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 200


# Listing


async def test_members_do_not_list_or_create(server: Server) -> None:
    """A member gets 403 for listing and creating users, before its input is checked."""
    ada = await server.member("ada")
    await server.json("GET", "/v1/users?sort=nonsense", ada, status=403)
    await server.json("POST", "/v1/users", ada, status=403, data=b"nonsense")


async def test_pages_lead_to_the_end(server: Server) -> None:
    """Following `next`, or the `Link` header, gives everybody once, in the order asked for."""
    admin = await server.admin()
    names = ["eve", "ada", "dan", "bob", "cleo"]
    for name in names:
        await server.json(
            "POST", "/v1/users", admin, status=201, json={"username": name, "email": f"{name}@example.com"}
        )
    orders = {
        "created_at": ["admin", *names],
        "-created_at": [*reversed(names), "admin"],
        "username": sorted(["admin", *names]),
        "-username": sorted(["admin", *names], reverse=True),
    }
    for sort, order in orders.items():
        found, following, links = [], "", []
        while True:
            path = f"/v1/users?limit=2&sort={sort}{following}"
            async with server.request("GET", path, admin) as answer:
                page = await answer.json()
            found += [user["username"] for user in page["items"]]
            assert answer.headers["Roster-Position"] == str(await server.app[SERVICES].store.events.read_position())
            if page["next"] is None:
                assert "Link" not in answer.headers
                break
            following = f"&cursor={page['next']}"
            links.append(URL(answer.links["next"]["url"]).path_qs)
        assert found == order
        assert [user["username"] for user in (await server.json("GET", links[-1], admin))["items"]] == order[4:]


async def test_list_is_filtered(server: Server) -> None:
    """Role, activity and a part of a name choose who is listed, alone and together."""
    admin = await server.admin()
    special: dict[str, dict[str, Any]] = {
        "ada": {"name": "Ada Lovelace"},
        "bob": {"active": False},
        "root": {"role": "admin"},
    }
    for name, more in special.items():
        body = {"username": name, "email": f"{name}@example.com", **more}
        await server.json("POST", "/v1/users", admin, status=201, json=body)

    async def listed(query: str) -> list[str]:
        return [user["username"] for user in (await server.json("GET", f"/v1/users?{query}", admin))["items"]]

    assert await listed("role=admin") == ["admin", "root"]
    assert await listed("active=false") == ["bob"]
    assert await listed("q=LOVE") == ["ada"]
    assert await listed("q=BOB%40example") == ["bob"]
    assert await listed("role=member&active=true&q=a") == ["ada"]
    assert await listed("q=absent") == []
    assert await listed("q=%25") == []


async def test_cursor_belongs_to_its_question(server: Server) -> None:
    """A cursor of another query, or a forged one, is refused; the size of a page may change."""
    admin = await server.admin()
    await server.member("ada")
    await server.member("bob")
    cursor = (await server.json("GET", "/v1/users?limit=1&sort=username", admin))["next"]

    for query in ("", "&sort=-username", "&sort=username&role=member", "&sort=username&q=a"):
        await server.json("GET", f"/v1/users?cursor={cursor}{query}", admin, status=400)
    for forged in (cursor[:-2], cursor + "AA", "AAAA", cursor.swapcase()):
        await server.json("GET", f"/v1/users?sort=username&cursor={forged}", admin, status=400)
    page = await server.json("GET", f"/v1/users?sort=username&limit=50&cursor={cursor}", admin)
    assert [user["username"] for user in page["items"]] == ["admin", "bob"]


async def test_bad_parameters_are_named(server: Server) -> None:
    """A parameter that is not what it must be is refused with 400 and named."""
    admin = await server.admin()
    for query, names in {
        "limit=0": {"limit"},
        "limit=101&sort=age": {"limit", "sort"},
        "active=1": {"active"},
        "role=owner": {"role"},
        "q=": {"q"},
        "offset=20": {"offset"},
    }.items():
        problem = await server.json("GET", f"/v1/users?{query}", admin, status=400)
        assert problem["type"] == "/problems/bad-request"
        assert {error["pointer"] for error in problem["errors"]} == {f"/{name}" for name in names}


async def test_list_and_feed_join_without_gap(server: Server) -> None:
    """Pages taken while others write, and the events after the first page's position, make the present state."""
    admin = await server.admin()
    users = [
        await server.json(
            "POST", "/v1/users", admin, status=201, json={"username": f"u{n:02}", "email": f"u{n}@example.com"}
        )
        for n in range(7)
    ]
    held: dict[str, Any] = {}
    position, cursor = None, ""
    for changed in users:
        async with server.request("GET", f"/v1/users?limit=2{cursor}", admin) as answer:
            page = await answer.json()
        position = position or answer.headers["Roster-Position"]
        held |= {user["id"]: user for user in page["items"]}
        await server.json("PATCH", f"/v1/users/{changed['id']}", admin, json={"name": "changed"})
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    async with server.request("DELETE", f"/v1/users/{users[0]['id']}", admin) as gone:
        assert gone.status == 204

    for event in (await server.json("GET", f"/v1/events?limit=100&after={position}", admin))["items"]:
        seq = int(event["id"].split("-")[1])
        if event["type"] == "user.deleted":
            del held[event["subject"]]
        elif event["user"] and seq > held.get(event["subject"], {"version": 0})["version"]:
            held[event["subject"]] = event["user"]
    present = (await server.json("GET", "/v1/users?limit=100", admin))["items"]
    assert sorted(held.values(), key=lambda user: str(user["id"])) == sorted(present, key=lambda user: str(user["id"]))


# Creating


async def test_admin_creates(server: Server) -> None:
    """An administrator creates an account with any fields, and receives its address and version."""
    admin = await server.admin()
    body = {
        "username": "grace",
        "email": "Grace@Example.com",
        "name": "Grace",
        "age": 85,
        "role": "admin",
        "active": True,
        "password": PASSWORD,
    }
    async with server.request("POST", "/v1/users", admin, json=body) as answer:
        user = await answer.json()

    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/users/{user['id']}"
    assert answer.headers["ETag"] == f'"{answer.headers["Roster-Position"]}"'
    assert user["email"] == "grace@example.com"
    assert await server.json("GET", answer.headers["Location"], admin) == user
    grace = await server.log_in("grace@example.com")
    assert grace.id == user["id"]
    (event,) = await events(server, admin, user["version"] - 1)
    assert (event["type"], event["actor"], event["user"]) == ("user.created", admin.id, user)


async def test_account_may_be_made_that_cannot_log_in(server: Server) -> None:
    """An account without a password, or inactive, is made, and refused like a wrong password."""
    admin = await server.admin()
    cases: tuple[dict[str, Any], ...] = ({}, {"password": None}, {"password": PASSWORD, "active": False})
    for number, more in enumerate(cases):
        body = {"username": f"eve{number}", "email": f"eve{number}@example.com"} | more
        await server.json("POST", "/v1/users", admin, status=201, json=body)
        login = {"login": f"eve{number}", "password": PASSWORD}
        await server.json("POST", "/v1/auth/login", status=401, json=login)


async def test_taken_names_are_409(server: Server) -> None:
    """Duplicates are refused with 409, field by field, in any spelling."""
    admin = await server.admin()
    await server.member("ada")
    body = {"username": "ada", "email": "ADA@example.com"}
    problem = await server.json("POST", "/v1/users", admin, status=409, json=body)

    assert problem["type"] == "/problems/already-exists"
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/username", "already_exists"),
        ("/email", "already_exists"),
    ]


async def test_broken_rules_are_422(server: Server) -> None:
    """A body that breaks field rules is refused with 422, each rule by a pointer, and makes nothing."""
    admin = await server.admin()
    before = await head(server)
    body = {"username": "A", "email": "x", "age": 151, "id": "x", "password": "short", "name": "a\nb"}
    problem = await server.json("POST", "/v1/users", admin, status=422, json=body)

    assert problem["type"] == "/problems/invalid-fields"
    assert {error["pointer"] for error in problem["errors"]} == {f"/{name}" for name in body}
    assert await head(server) == before


# Changing


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/json"])
async def test_patch_changes_what_it_names(server: Server, content_type: str) -> None:
    """A merge patch changes what it names and nothing else, in either media type, and tells the new version."""
    ada = await server.member("ada")
    before = await server.json("GET", "/v1/users/me", ada)
    headers = {"Content-Type": content_type}
    async with server.request(
        "PATCH", f"/v1/users/{ada.id}", ada, data=b'{"name":"Ada","age":36}', headers=headers
    ) as answer:
        after = await answer.json()

    assert answer.status == 200
    assert after == before | {
        "name": "Ada",
        "age": 36,
        "updated_at": after["updated_at"],
        "version": before["version"] + 1,
    }
    assert answer.headers["ETag"] == await etag_of(server, ada)
    assert answer.headers["Roster-Position"] == f"{answer.headers['ETag'].strip(chr(34))}"
    emptied = await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": None, "age": None})
    assert (emptied["name"], emptied["age"]) == ("", None)


async def test_put_replaces(server: Server) -> None:
    """A replacement empties name and age where it leaves them out, and keeps role and activity."""
    admin = await server.admin()
    grace = await server.json(
        "POST",
        "/v1/users",
        admin,
        status=201,
        json={
            "username": "grace",
            "email": "g@example.com",
            "name": "Grace",
            "age": 85,
            "role": "admin",
            "active": False,
        },
    )
    path = f"/v1/users/{grace['id']}"
    after = await server.json("PUT", path, admin, json={"username": "grace2", "email": "g@example.com"})

    assert [after[name] for name in ("username", "email", "name", "age", "role", "active")] == [
        "grace2",
        "g@example.com",
        "",
        None,
        "admin",
        False,
    ]
    await server.json("PUT", path, admin, status=422, json={"name": "x"})
    await server.json("PUT", path, admin, status=415, data=b"{}", headers=MERGE_PATCH)


async def test_patch_that_changes_nothing_writes_nothing(server: Server) -> None:
    """A patch to what is there already answers the same version, and no event follows."""
    ada = await server.member("ada")
    before = await head(server)
    user, tag = await server.json("GET", "/v1/users/me", ada), await etag_of(server, ada)
    patches: tuple[dict[str, Any], ...] = (
        {},
        {"name": "", "age": None},
        {"username": "ada", "email": "ADA@example.com", "role": "member", "active": True},
    )
    for patch in patches:
        async with server.request("PATCH", f"/v1/users/{ada.id}", ada, json=patch) as answer:
            assert await answer.json() == user
        assert answer.headers["ETag"] == tag
    assert await head(server) == before


async def test_member_may_repeat_but_not_change_its_rights(server: Server) -> None:
    """A member that sends its role and activity back changes the rest; with other values it changes nothing."""
    ada = await server.member("ada")
    path = f"/v1/users/{ada.id}"
    await server.json("PATCH", path, ada, json={"name": "Ada", "role": "member", "active": True})
    for rights in ({"role": "admin"}, {"active": False}):
        problem = await server.json("PATCH", path, ada, status=403, json={"name": "x"} | rights)
        assert problem["type"] == "/problems/forbidden"
        whole = {"username": "ada", "email": "ada@example.com"} | rights
        await server.json("PUT", path, ada, status=403, json=whole)

    user = await server.json("GET", "/v1/users/me", ada)
    assert (user["name"], user["role"], user["active"]) == ("Ada", "member", True)


async def test_own_address_needs_the_password(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The own e-mail address changes with the current password only; then it logs in, and the old one does not, but is
    notified."""
    ada = await server.member("ada")
    path = f"/v1/users/{ada.id}"
    for wrong, code in (({}, "password_required"), ({"current_password": "wrong"}, "wrong_password")):
        problem = await server.json("PATCH", path, ada, status=422, json={"email": "new@example.com"} | wrong)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/current_password", code)]
    whole = {"username": "ada", "email": "new@example.com", "current_password": PASSWORD}
    assert (await server.json("PUT", path, ada, json=whole))["email"] == "new@example.com"

    await server.log_in("new@example.com")
    await server.json("POST", "/v1/auth/login", status=401, json={"login": "ada@example.com", "password": PASSWORD})
    assert (await Mails(caplog).newest("ada@example.com")).subject == "Your address was changed"


async def test_admin_needs_no_password_for_others(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """An administrator changes any user's address, username and rights; the previous address is notified."""
    admin, ada = await server.admin(), await server.member("ada")
    body = {"username": "ada2", "email": "new@example.com", "role": "admin", "active": False}

    user = await server.json("PATCH", f"/v1/users/{ada.id}", admin, json=body)
    assert {name: user[name] for name in body} == body
    assert (await Mails(caplog).newest("ada@example.com")).subject == "Your address was changed"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_stale_version_is_412(server: Server, method: str) -> None:
    """With `If-Match` only the versions named are changed: the tag is compared strongly, and in its epoch."""
    admin, ada = await server.admin(), await server.member("ada")
    path = f"/v1/users/{ada.id}"
    body = None if method == "DELETE" else {"username": "ada", "email": "ada@example.com", "name": "Ada"}
    tag = await etag_of(server, admin, path)
    before = await head(server)
    version = tag.strip('"').split("-")[1]
    for stale in ('"x"', f"W/{tag}", f'"otherone-{version}"', f'{tag[:-2]}0"', f'"{version}"', '"", "y"'):
        problem = await server.json(method, path, admin, status=412, json=body, headers={"If-Match": stale})
        assert problem["type"] == "/problems/precondition-failed"
    for nonsense in ("x", '"x', tag + "x", "*, *"):
        await server.json(method, path, admin, status=400, json=body, headers={"If-Match": nonsense})
    assert await head(server) == before

    async with server.request(method, path, admin, json=body, headers={"If-Match": f'"x", {tag}'}) as answer:
        assert answer.status == (204 if method == "DELETE" else 200)
    if method != "DELETE":
        await server.json(method, path, admin, status=412, json=body, headers={"If-Match": tag})
        await server.json(method, path, admin, json=body, headers={"If-Match": "*"})


async def test_lost_update_is_prevented(server: Server) -> None:
    """Of many who change the version that all of them read exactly one succeeds."""
    ada = await server.member("ada")
    tag = await etag_of(server, ada)

    async def change(number: int) -> int:
        headers = {"If-Match": tag}
        async with server.request(
            "PATCH", f"/v1/users/{ada.id}", ada, json={"name": str(number)}, headers=headers
        ) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*(change(number) for number in range(10)))) == [200] + [412] * 9


async def test_patch_needs_a_json_type(server: Server) -> None:
    """A patch of another media type is refused with those that are taken."""
    ada = await server.member("ada")
    headers = {"Content-Type": "application/json-patch+json"}
    async with server.request("PATCH", f"/v1/users/{ada.id}", ada, data=b"[]", headers=headers) as answer:
        assert answer.status == 415

    assert answer.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


# Deleting


async def test_user_is_deleted(server: Server) -> None:
    """A deleted user is not there any more, its names are free, and its events keep no copy of it."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.json("PATCH", f"/v1/users/{ada.id}", ada, json={"name": "Ada"})
    async with server.request("DELETE", f"/v1/users/{ada.id}", admin) as answer:
        assert (answer.status, await answer.read()) == (204, b"")

    assert answer.headers["Roster-Position"] == str(await server.app[SERVICES].store.events.read_position())
    await server.json("GET", f"/v1/users/{ada.id}", admin, status=404)
    async with server.request("DELETE", f"/v1/users/{ada.id}", admin) as again:
        assert again.status == 404
    told = [event for event in await events(server, admin) if event["subject"] == ada.id]
    assert [(event["type"], event["user"]) for event in told] == [
        ("user.created", None),
        ("user.updated", None),
        ("session.ended", None),
        ("user.deleted", None),
    ]
    assert "ada@example.com" not in str(await events(server, admin))
    await server.member("ada")


async def test_member_deletes_itself(server: Server) -> None:
    """A member may delete its own account, and is logged out by it at once."""
    ada = await server.member("ada")
    async with server.request("DELETE", f"/v1/users/{ada.id}", ada) as answer:
        assert answer.status == 204

    await server.json("GET", "/v1/users/me", ada, status=401)
    await server.json("POST", "/v1/auth/login", status=401, json={"login": "ada", "password": PASSWORD})


async def test_last_admin_is_409(server: Server) -> None:
    """The last active administrator can be neither deleted nor demoted nor deactivated; with another one it can."""
    admin = await server.admin()
    path = f"/v1/users/{admin.id}"
    for method, body in (("DELETE", None), ("PATCH", {"role": "member"}), ("PATCH", {"active": False})):
        problem = await server.json(method, path, admin, status=409, json=body)
        assert problem["type"] == "/problems/last-admin"
    bob = await server.member("bob")
    await server.json("PATCH", f"/v1/users/{bob.id}", admin, json={"role": "admin"})

    assert (await server.json("PATCH", path, admin, json={"role": "member"}))["role"] == "member"


# A client that leaves


@pytest.mark.parametrize("leaves", ["before", "hashing", "writing"])
async def test_client_that_leaves_leaves_a_whole_change(
    server: Server, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    """A client that drops its connection while its account is made leaves the account with its event, or neither."""
    begun, gate = asyncio.Event(), asyncio.Event()
    store = server.app[SERVICES].store
    owner, name = (store, "write") if leaves == "writing" else (server.app[SERVICES].hasher, "hash")
    real = getattr(owner, name)

    async def slow(*args: Any) -> Any:
        begun.set()
        await gate.wait()
        return await real(*args)

    monkeypatch.setattr(owner, name, slow)
    before = await head(server)
    body = f'{{"username":"ada","email":"ada@example.com","password":"{PASSWORD}"}}'
    length = len(body) + (1 if leaves == "before" else 0)  # a byte of the body never comes
    async with raw_peer(server.port) as peer:
        await peer.send(
            "POST /v1/auth/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n{body}"
        )
        if leaves != "before":
            await begun.wait()
    if leaves == "before":
        await until(lambda: b'roster_http_requests_total{method="POST"' in server.app[SERVICES].metrics.text())
        assert (await store.events.read_position()).seq == before
        assert not begun.is_set()
        return

    await until(lambda: b'route="/v1/auth/register",status="499"' in server.app[SERVICES].metrics.text())
    gate.set()
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "register"])
    found = await store.users.find_by_login("ada")
    page = await store.events.list_page(EventQuery(before, 10))
    if leaves == "hashing":
        assert (found, page.events) == (None, [])
        return
    assert found is not None
    assert found.password_hash is not None
    assert [(event.type, event.user) for event in page.events] == [("user.created", found.user)]
