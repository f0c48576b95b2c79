"""Bodies, fields, parameters and preconditions that are not what they must be: each has one status, none is a 500."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from tests.support.hostile import assert_serves, exchange, message
from tests.support.peer import Answer
from tests.support.places import KINDS
from tests.support.server import PASSWORD, Login, Server, serve

_numbers = itertools.count(1)


# For rows that are refused before a store is asked anything.
in_memory = pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def admin(target: Server) -> Login:
    return await target.admin()


async def send(
    server: Server,
    by: Login,
    method: str,
    path: str,
    body: bytes = b"",
    *headers: str,
    media_type: str | None = "application/json",
) -> Answer:
    """Send a body as it is."""
    content = [] if media_type is None else [f"Content-Type: {media_type}"]
    bearer, length = f"Authorization: Bearer {by.access_token}", f"Content-Length: {len(body)}"
    outcome = await exchange(server, message(method, path, bearer, length, *content, *headers, body=body))
    assert outcome.answer is not None
    assert outcome.answer.status < 500
    await assert_serves(server)
    return outcome.answer


def new_user(**fields: Any) -> dict[str, Any]:
    """A user that can be made, with these fields instead of its own."""
    number = next(_numbers)
    return {"username": f"user{number}", "email": f"user{number}@example.com", "name": "Ada", **fields}


def pointers(answer: Answer) -> list[str]:
    return [error["pointer"] for error in json.loads(answer.body)["errors"]]


@in_memory
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b" \n", id="blanks"),
        pytest.param(b'{"a":', id="truncated"),
        pytest.param(b'{"a":1}}', id="trailing text"),
        pytest.param(b"{} {}", id="two texts"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b"{} // a", id="comment"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b"{a:1}", id="name without quotes"),
        pytest.param(b'{"age":01}', id="leading zero"),
        pytest.param(b'{"age":+1}', id="plus sign"),
        pytest.param(b'{"age":.5}', id="no digit before the point"),
        pytest.param(b'{"age":0x10}', id="hex"),
        pytest.param(b'{"age":NaN}', id="NaN"),
        pytest.param(b'{"age":-Infinity}', id="Infinity"),
        pytest.param(b'{"age":1e999}', id="number beyond a float"),
        pytest.param(b'{"age":' + b"9" * 5000 + b"}", id="5,000 digits"),
        pytest.param(b'{"role":"member","role":"admin"}', id="name twice"),
        pytest.param(b'{"role":"member","r\\u006fle":"admin"}', id="name twice, once escaped"),
        pytest.param(b'{"a":{"b":1,"b":1}}', id="name twice inside"),
        pytest.param(b"[" * 100_000, id="100,000 arrays begun"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 arrays"),
        pytest.param(b'{"a":' * 40_000 + b"1" + b"}" * 40_000, id="40,000 objects"),
        pytest.param(b'{"name":"\xff"}', id="byte that is not UTF-8"),
        pytest.param(b'{"name":"\xed\xa0\x80"}', id="surrogate in UTF-8"),
        pytest.param(b'{"name":"\xc0\x80"}', id="overlong NUL"),
        pytest.param('{"name":"a"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'{"name":"\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"\\udc00":1}', id="half a surrogate pair in a name"),
        pytest.param(b'{"name":"a\nb"}', id="raw line break in a string"),
        pytest.param(b'{"name":"\x00"}', id="raw NUL in a string"),
        pytest.param(b'{"name":"\\x41"}', id="unknown escape"),
        pytest.param(b'{"name":"\\u12"}', id="short escape"),
    ],
)
async def test_body_that_is_no_json_is_400(target: Server, admin: Login, body: bytes) -> None:
    """A body that is not one JSON text, or is ambiguous, is `malformed-json`, and the text is not repeated."""
    answer = await send(target, admin, "POST", "/v1/users", body)

    problem = json.loads(answer.body)
    assert (answer.status, problem["type"]) == (400, "/problems/malformed-json")
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.body) < 500


@in_memory
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "garbage",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json, text/plain",
        "application/merge-patch+json",
        "application/json; charset=utf-7",
        "application/json; charset=idna",
        "application/json; charset=utf-16",
        "application/json; charset=bogus",
        "a/b/c",
        "\xff",
    ],
)
async def test_other_media_types_are_415(target: Server, admin: Login, media_type: str | None) -> None:
    """A body of another type or character set is 415, and `Accept` names what is read."""
    body = json.dumps(new_user()).encode()
    answer = await send(target, admin, "POST", "/v1/users", body, media_type=media_type)

    assert answer.status == 415
    assert answer.headers["accept"] == "application/json"


@in_memory
@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json; charset=UTF-8", 'application/json;charset="utf8"'],
)
async def test_spellings_of_the_media_type_are_read(target: Server, admin: Login, media_type: str) -> None:
    """The media type is compared without its case and may carry the one character set."""
    body = json.dumps(new_user()).encode()

    assert (await send(target, admin, "POST", "/v1/users", body, media_type=media_type)).status == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(pytest.param(name, "x", id=name) for name in ("id", "is_admin", "password_hash", "created_at", "version")),
        pytest.param("__proto__", {"role": "admin"}, id="__proto__"),
        pytest.param("constructor", {}, id="constructor"),
        pytest.param("a/b~c", 1, id="name with a slash"),
        pytest.param("x" * 5000, 1, id="name of 5,000 letters"),
        pytest.param("a\0b\n", 1, id="name with control characters"),
        pytest.param("age", True, id="true for a number"),
        pytest.param("age", "1", id="text for a number"),
        pytest.param("age", 1.5, id="half a year"),
        pytest.param("age", 1e300, id="float beyond any age"),
        pytest.param("age", -1, id="below zero"),
        pytest.param("age", 151, id="above 150"),
        pytest.param("age", 2**63, id="beyond 63 bits"),
        pytest.param("age", [], id="array for a number"),
        pytest.param("active", 1, id="number for true"),
        pytest.param("active", "true", id="text for true"),
        pytest.param("active", None, id="null for true"),
        pytest.param("role", "root", id="unknown role"),
        pytest.param("role", "Admin", id="role in another case"),
        pytest.param("role", None, id="null for a role"),
        pytest.param("name", None, id="null for a name"),
        pytest.param("name", 1, id="number for a name"),
        pytest.param("name", "a" * 101, id="name of 101"),
        pytest.param("name", "a\0b", id="NUL in a name"),
        pytest.param("name", "a\r\nSet-Cookie: b", id="line break in a name"),
        pytest.param("name", "a\x1b[31m", id="escape in a name"),
        pytest.param("name", "a\u2028b", id="line separator in a name"),
        pytest.param("username", "ab", id="username of 2"),
        pytest.param("username", "a" * 33, id="username of 33"),
        pytest.param("username", "Ada", id="capital in a username"),
        pytest.param("username", "ada lovelace", id="blank in a username"),
        pytest.param("username", "аda", id="Cyrillic a in a username"),
        pytest.param("username", "ada\n", id="line break after a username"),
        pytest.param("username", "ada\0", id="NUL after a username"),
        pytest.param("username", "../ada", id="path for a username"),
        pytest.param("email", "a", id="no at"),
        pytest.param("email", "a@b", id="no dot in the domain"),
        pytest.param("email", "a@@example.com", id="two ats"),
        pytest.param("email", "a@b@example.com", id="two ats apart"),
        pytest.param("email", "a@example.com.", id="dot after the domain"),
        pytest.param("email", "@example.com", id="nothing before the at"),
        pytest.param("email", "a@example.com\r\nBcc: b@example.com", id="line break in an address"),
        pytest.param("email", "a@example.com\0", id="NUL in an address"),
        pytest.param("email", f"{'a' * 243}@example.com", id="address of 255"),
        pytest.param(
            "email", f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 3000}.com", id="address longer than an index takes"
        ),
        pytest.param("email", "Ada <ada@example.com>", id="name with the address"),
        pytest.param("email", "<ada@example.com>", id="address in brackets"),
        pytest.param("email", "a@[127.0.0.1]", id="address literal"),
        pytest.param("password", "short 7", id="password of 7"),
        pytest.param("password", "x" * 1025, id="password of 1,025"),
        pytest.param("password", "x" * 200_000, id="password of 200,000"),
        pytest.param("password", " " * 12, id="password of blanks"),
        pytest.param("password", 12345678, id="number for a password"),
    ],
)
async def test_field_that_breaks_a_rule_is_422_and_named(target: Server, admin: Login, field: str, value: Any) -> None:
    """A field that is unknown, read-only, of another type or out of bounds is 422 and named; nothing is written."""
    user = new_user(**{field: value})
    answer = await send(target, admin, "POST", "/v1/users", json.dumps(user).encode())

    assert answer.status == 422
    assert pointers(answer) == [("/" + field.replace("~", "~0").replace("/", "~1"))[:200]]
    assert "x" * 300 not in answer.body.decode()
    # The name is still free.
    good = json.dumps(new_user(username=user["username"]) if field != "username" else new_user()).encode()
    assert (await send(target, admin, "POST", "/v1/users", good)).status == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("name", "", id="no name"),
        pytest.param("name", "😀" * 100, id="name of 100 emoji"),
        pytest.param("name", "a\u200bb\u202ex\u0301", id="zero width, right to left, combining"),
        pytest.param("name", "=cmd|' /C calc'!A0", id="formula for a name"),
        pytest.param("name", "<script>alert(1)</script>", id="markup for a name"),
        pytest.param("name", "'; DROP TABLE users; --", id="SQL for a name"),
        pytest.param("age", None, id="no age"),
        pytest.param("age", 0, id="youngest"),
        pytest.param("age", 150, id="oldest"),
        pytest.param("email", f"{'a' * 64}@{'b' * 60}.{'c' * 60}.example.com", id="long address"),
    ],
)
async def test_unusual_values_are_kept_as_they_are(target: Server, admin: Login, field: str, value: Any) -> None:
    """Unusual but valid values are stored and returned unchanged; a page that shows them must escape them."""
    answer = await send(target, admin, "POST", "/v1/users", json.dumps(new_user(**{field: value})).encode())

    assert answer.status == 201
    assert json.loads(answer.body)[field] == value


@pytest.mark.parametrize(("text", "age"), [("1.0", 1), ("1e2", 100), ("-0", 0), ("0.1e2", 10), ("1.5e0", None)])
async def test_integers_may_be_written_as_json_writes_numbers(
    target: Server, admin: Login, text: str, age: int | None
) -> None:
    """JSON has one kind of number: 1.0 is a whole one and is kept as 1, 1.5 is none."""
    body = json.dumps(new_user(age=77)).replace("77", text).encode()
    answer = await send(target, admin, "POST", "/v1/users", body)

    assert answer.status == (422 if age is None else 201)
    if age is not None:
        assert f'"age":{age},'.encode() in answer.body


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("{}@example.com", "{}@EXAMPLE.com", id="case of the domain"),
        pytest.param("{}@example.com", "{}@Example.COM", id="case of both"),
        pytest.param("caf\u00e9{}@example.com", "cafe\u0301{}@example.com", id="NFC and NFD"),
    ],
)
async def test_two_spellings_of_an_address_are_one(target: Server, admin: Login, one: str, other: str) -> None:
    """An address that another account has is taken in every spelling."""
    name = f"same{next(_numbers)}"
    first = await send(target, admin, "POST", "/v1/users", json.dumps(new_user(email=one.format(name))).encode())
    second = new_user(email=other.format(name.upper()))
    answer = await send(target, admin, "POST", "/v1/users", json.dumps(second).encode())

    assert first.status == 201
    assert (answer.status, pointers(answer)) == (409, ["/email"])


async def test_same_user_twice_at_once_is_made_once(target: Server, admin: Login) -> None:
    """Of twenty equal requests at once one creates the user, the others get `already-exists`."""
    body = json.dumps(new_user()).encode()
    answers = await asyncio.gather(*(send(target, admin, "POST", "/v1/users", body) for _ in range(20)))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


@pytest.mark.parametrize(
    ("status", "key"),
    [
        pytest.param(400, "", id="empty"),
        pytest.param(400, '""', id="empty string"),
        pytest.param(400, "a" * 300, id="300 letters"),
        pytest.param(400, '"a', id="no quote after"),
        pytest.param(400, '"a", "b"', id="two"),
        pytest.param(400, '"a\xff"', id="byte"),
        pytest.param(400, '"a"\r\nIdempotency-Key: "a"', id="two headers"),
        pytest.param(201, '"%00\' OR 1=1 --"', id="SQL"),
        pytest.param(201, '"' + "a" * 255 + '"', id="longest"),
    ],
)
async def test_key_of_a_request(target: Server, admin: Login, status: int, key: str) -> None:
    """An invalid key is 400 and does nothing; the same request under one key has one answer, another body is 422."""
    body, other = (json.dumps(new_user()).encode() for _ in range(2))
    header = f"Idempotency-Key: {key}"
    answers = [await send(target, admin, "POST", "/v1/users", sent, header) for sent in (body, body, other)]

    assert [answer.status for answer in answers] == ([400] * 3 if status == 400 else [201, 201, 422])
    if status == 201:
        assert answers[0].body == answers[1].body
    # Without a key the name is taken only where something was done.
    assert (await send(target, admin, "POST", "/v1/users", body)).status == (201 if status == 400 else 409)


async def test_key_twice_at_once_is_carried_out_once(target: Server, admin: Login) -> None:
    """Of ten requests with one key at the same moment one creates the user; the others get a retry time, or the same answer."""
    body, header = json.dumps(new_user()).encode(), f'Idempotency-Key: "at once {next(_numbers)}"'
    answers = await asyncio.gather(*(send(target, admin, "POST", "/v1/users", body, header) for _ in range(10)))

    made = [answer for answer in answers if answer.status == 201]
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body for answer in made}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1


@pytest.mark.parametrize(
    ("status", "patch"),
    [
        pytest.param(422, b"[]", id="array"),
        pytest.param(422, b'"x"', id="text"),
        pytest.param(422, b"null", id="null"),
        pytest.param(422, b"1", id="number"),
        pytest.param(422, b'{"username":null}', id="null for the username"),
        pytest.param(422, b'{"email":null}', id="null for the address"),
        pytest.param(422, b'{"role":null}', id="null for the role"),
        pytest.param(422, b'{"active":null}', id="null for active"),
        pytest.param(422, b'{"password":"another password"}', id="password, which has a path of its own"),
        pytest.param(422, b'{"id":"0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"}', id="id"),
        pytest.param(422, b'{"name":"new","version":1}', id="version beside a good field"),
        pytest.param(200, b"{}", id="nothing"),
        pytest.param(200, b'{"name":null,"age":null}', id="null for what may be empty"),
    ],
)
async def test_merge_patch(target: Server, admin: Login, status: int, patch: bytes) -> None:
    """A patch is an object of fields that may change; null empties only what may be empty; a bad one changes nothing."""
    made = json.loads((await send(target, admin, "POST", "/v1/users", json.dumps(new_user(age=3)).encode())).body)
    path = f"/v1/users/{made['id']}"
    answer = await send(target, admin, "PATCH", path, patch, media_type="application/merge-patch+json")
    now = json.loads((await send(target, admin, "GET", path)).body)

    assert answer.status == status
    if status == 422:
        assert now == made
    elif patch != b"{}":
        assert (now["name"], now["age"]) == ("", None)


async def test_member_cannot_raise_itself(target: Server) -> None:
    """A member that changes its `role` or `active`, or registers with them, is refused; repeating them is harmless."""
    member = await target.member()
    path = f"/v1/users/{member.id}"
    patches: tuple[dict[str, Any], ...] = ({"role": "admin"}, {"active": False}, {"role": "member", "active": True})
    statuses = [(await send(target, member, "PATCH", path, json.dumps(patch).encode())).status for patch in patches]
    registration = json.dumps(new_user(password=PASSWORD, role="admin")).encode()
    registered = await send(target, member, "POST", "/v1/auth/register", registration)

    assert statuses == [403, 403, 200]
    assert (registered.status, pointers(registered)) == (422, ["/role"])


@pytest.mark.parametrize(
    ("status", "query"),
    [
        *(
            pytest.param(400, f"limit={limit}", id=f"limit {limit}")
            for limit in (
                "",
                "0",
                "-1",
                "101",
                "1e9",
                "abc",
                "1.0",
                "+1",
                "%201",
                "1_0",
                "9" * 5000,
                "%D9%A1",
                "%EF%BC%91",
            )
        ),
        pytest.param(400, "limit=1&limit=2", id="limit twice"),
        pytest.param(400, "Limit=1", id="parameter in another case"),
        pytest.param(400, "foo=1", id="unknown parameter"),
        pytest.param(400, "cursor=", id="empty cursor"),
        pytest.param(400, "cursor=AAAA", id="short cursor"),
        pytest.param(400, "cursor=%00%ff", id="cursor of bytes"),
        pytest.param(400, "cursor=" + "A" * 1000, id="cursor of 1,000"),
        pytest.param(400, "cursor=" + "A" * 1001, id="cursor of 1,001"),
        pytest.param(400, "q=", id="empty search"),
        pytest.param(400, "q=" + "a" * 101, id="search of 101"),
        pytest.param(400, "role=root", id="unknown role"),
        pytest.param(400, "active=1", id="number for true"),
        pytest.param(400, "sort=password_hash", id="secret to sort by"),
        pytest.param(400, "sort=created_at,username", id="two to sort by"),
        pytest.param(200, "limit=1", id="least limit"),
        pytest.param(200, "limit=100&role=member&active=true&sort=-username&q=%25_%27%22%3B--", id="SQL to search"),
        pytest.param(400, "q=%0d%0aSet-Cookie:%20a", id="line break to search"),
        pytest.param(400, "q=a%00", id="NUL to search"),
        pytest.param(200, "q=%f0%9f%98%80", id="emoji to search"),
        pytest.param(200, "q=%ff%fe", id="bytes to search"),
    ],
)
async def test_parameters(target: Server, admin: Login, status: int, query: str) -> None:
    """A parameter that is unknown, stands twice or is out of bounds is 400 and named; no text in one is dangerous."""
    answer = await send(target, admin, "GET", f"/v1/users?{query}", media_type=None)

    assert answer.status == status
    assert "set-cookie" not in answer.headers


async def test_cursor_is_only_good_where_it_was_given_out(target: Server, admin: Login) -> None:
    """A cursor with any letter changed, or with other filters, is 400."""
    for _ in range(2):
        await send(target, admin, "POST", "/v1/users", json.dumps(new_user()).encode())
    first = await send(target, admin, "GET", "/v1/users?limit=1&sort=username")
    cursor = json.loads(first.body)["next"]
    bent = cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:]
    asked = {
        f"sort=username&cursor={cursor}": 200,
        f"sort=username&limit=50&cursor={cursor}": 200,
        f"sort=username&cursor={bent}": 400,
        f"sort=username&cursor={cursor}=": 400,
        f"sort=username&cursor={cursor}A": 400,
        f"sort=-username&cursor={cursor}": 400,
        f"sort=username&role=admin&cursor={cursor}": 400,
        f"cursor={cursor}": 400,
    }

    assert {query: (await send(target, admin, "GET", f"/v1/users?{query}")).status for query in asked} == asked


async def test_cursor_of_another_service_is_400(target: Server, admin: Login, store_url: str) -> None:
    """A cursor of another service, for the same query, is refused."""
    async with serve(store_url=store_url, jwt_secret="another secret, of 32 bytes at least") as other:
        theirs = await other.admin()
        await other.member()
        cursor = (await other.json("GET", "/v1/users?limit=1", theirs))["next"]

    assert (await send(target, admin, "GET", f"/v1/users?limit=1&cursor={cursor}")).status == 400


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        pytest.param(400, "If-Match: garbage", id="no quotes"),
        pytest.param(400, 'If-Match: "{tag}', id="no quote after"),
        pytest.param(400, 'If-Match: "{tag}" "{tag}"', id="no comma"),
        pytest.param(400, 'If-Match: *, "{tag}"', id="star in a list"),
        pytest.param(400, 'If-Match: w/"{tag}"', id="small w"),
        pytest.param(412, 'If-Match: W/"{tag}"', id="weak"),
        pytest.param(412, 'If-Match: "{tag}0"', id="version ahead"),
        pytest.param(412, 'If-Match: "x{tag}"', id="other epoch"),
        pytest.param(412, 'If-Match: ""', id="empty tag"),
        pytest.param(412, "If-Match: ", id="empty list"),
        pytest.param(412, 'If-Match: "\xff"', id="byte in a tag"),
        pytest.param(412, 'If-Match: "a", "b"', id="two others"),
        pytest.param(200, 'If-Match: "{tag}"', id="the present one"),
        pytest.param(200, "If-Match: *", id="star"),
        pytest.param(200, 'If-Match: "a", W/"b", "{tag}"', id="present one in a list"),
        pytest.param(200, 'If-Match: , "a",, "{tag}" ,', id="empty elements"),
        pytest.param(200, 'If-Match: "a"\r\nIf-Match: "{tag}"', id="two headers"),
        pytest.param(200, "X-Nothing: 1", id="no condition"),
    ],
)
async def test_condition_of_a_change(target: Server, admin: Login, status: int, condition: str) -> None:
    """`If-Match` is compared strongly: what it does not name is 412, what is no list of tags 400; neither changes anything."""
    made = await send(target, admin, "POST", "/v1/users", json.dumps(new_user()).encode())
    path = f"/v1/users/{json.loads(made.body)['id']}"
    header = condition.format(tag=made.headers["etag"].strip('"'))
    answer = await send(target, admin, "PATCH", path, b'{"name":"changed"}', header)
    now = await send(target, admin, "GET", path)

    assert answer.status == status
    assert (json.loads(now.body)["name"] == "changed") is (status == 200)


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        pytest.param(304, 'If-None-Match: "{tag}"', id="the present one"),
        pytest.param(304, 'If-None-Match: W/"{tag}"', id="weak"),
        pytest.param(304, 'If-None-Match: "a", W/"{tag}"', id="in a list"),
        pytest.param(304, 'If-None-Match: "a"\r\nIf-None-Match: "{tag}"', id="two headers"),
        pytest.param(304, "If-None-Match: *", id="star"),
        pytest.param(200, 'If-None-Match: "a"', id="another"),
        pytest.param(200, "If-None-Match: ", id="empty list"),
        pytest.param(400, "If-None-Match: garbage", id="no quotes"),
    ],
)
async def test_condition_of_a_read(target: Server, admin: Login, status: int, condition: str) -> None:
    """`If-None-Match` is compared weakly; 304 has no content and repeats the ETag."""
    path = f"/v1/users/{admin.id}"
    tag = (await send(target, admin, "GET", path)).headers["etag"]
    answer = await send(target, admin, "GET", path, b"", condition.format(tag=tag.strip('"')), media_type=None)

    assert answer.status == status
    if status == 304:
        assert answer.headers["etag"] == tag
        assert answer.body == b""


async def test_condition_of_what_is_not_there_is_not_looked_at(target: Server, admin: Login) -> None:
    """An absent user is 404 whatever the condition (RFC 9110, 13.2.1)."""
    path = "/v1/users/0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"

    for condition in ("If-Match: *", 'If-Match: "a"', "If-Match: garbage"):
        for method, body in (("PATCH", b"{}"), ("DELETE", b"")):
            assert (await send(target, admin, method, path, body, condition)).status == 404


@pytest.mark.parametrize(
    "user_id",
    [
        "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
        "0193A5C8-7B1E-7C3A-9F52-3D1F0A6B8C11x",
        "0193a5c87b1e7c3a9f523d1f0a6b8c11",
        "%7B0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11%7D",
        "urn:uuid:0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
        "1",
        "-1",
        "null",
        "..",
        "%27%20OR%201=1--",
        "%E2%80%8B",
        "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c1%D9%A1",
        "a" * 4000,
    ],
)
async def test_what_is_no_id_answers_as_an_absent_user(target: Server, admin: Login, user_id: str) -> None:
    """An unknown id and a text that cannot be one are both 404, for every method."""
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = json.dumps(new_user()).encode() if method in ("PUT", "PATCH") else b""
        assert (await send(target, admin, method, f"/v1/users/{user_id}", body)).status == 404


async def test_one_user_has_one_address(target: Server, admin: Login) -> None:
    """An id in another spelling than the one given out is 404, but for its case (RFC 9562, 4)."""
    given = admin.id
    spellings = {
        given: 200,
        given.upper(): 200,
        given.replace("-", "") + "----": 404,
        "-" + given.replace("-", "", 1): 404,
        given.replace("0", "%D9%A0", 1): 404,  # a 0 of Arabic
        "%7B" + given.replace("-", "") + "%7D--": 404,
        given + "%20": 404,
    }

    assert {text: (await send(target, admin, "GET", f"/v1/users/{text}")).status for text in spellings} == spellings
