"""Requests that are sent again with the same `Idempotency-Key`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.domain.audit import AuditSource
from service.domain.errors import BadRequest
from service.domain.idempotency.claims import KEY_MAX
from service.domain.ports import Transaction, Written
from service.http.idempotency import parse_key
from service.http.services import SERVICES
from tests.support.peer import raw_peer
from tests.support.server import PASSWORD, Login, Server, serve
from tests.support.stores import whole_log
from tests.support.wait import until

GRACE = {"username": "grace", "email": "grace@example.com", "name": "Grace Hopper"}
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
JSON = {"Content-Type": "application/json"}
SAME = ("Content-Type", "Cache-Control", "ETag", "Location", "Roster-Position")

Reply = tuple[int, CIMultiDict[str], bytes]


async def post(
    server: Server, by: Login, body: Any = GRACE, path: str = "/v1/users", headers: dict[str, str] | None = None
) -> Reply:
    """Send it with the key: status, headers and body."""
    async with server.request("POST", path, by, data=json.dumps(body), headers={**JSON, **(headers or KEY)}) as answer:
        return answer.status, CIMultiDict(answer.headers), await answer.read()


async def made(server: Server) -> list[str]:
    """The users created since the first administrator, in order."""
    users = [event.user for event in await whole_log(server.app[SERVICES].store) if event.type == "user.created"]
    return [user.username for user in users[1:] if user is not None]


@asynccontextmanager
async def held_up(server: Server) -> AsyncIterator[list[object]]:
    """Have writes wait until the end of the block; those that do are in the list."""
    store: Any = server.app[SERVICES].store
    write, gate = store.write, asyncio.Event()
    waiting: list[object] = []

    async def held(work: Callable[[Transaction], Awaitable[Any]], by: AuditSource) -> Written[Any]:
        waiting.append(work)
        await gate.wait()
        written: Written[Any] = await write(work, by)
        return written

    store.write = held
    try:
        yield waiting
    finally:
        gate.set()
        store.write = write


def kind(answer: Reply) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["type"].removeprefix("/problems/")


# The header

CHARACTERS = [chr(code) for code in range(0x20, 0x7F)]
BARE = [one for one in CHARACTERS if one.isalnum() or one in "!#$%&'*+.^_`|~:/=-"]


@given(st.text(CHARACTERS, min_size=1, max_size=KEY_MAX), st.sampled_from(["", " ", "\t "]))
def test_string_is_read_as_it_was_meant(key: str, space: str) -> None:
    """Whatever a structured field's string can hold is the key (RFC 8941, 3.3.3)."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key(f'{space}"{escaped}"{space}') == key


@given(st.text(BARE, min_size=1, max_size=KEY_MAX))
def test_quotes_may_be_left_out(key: str) -> None:
    """Where nothing in the key needs them it is the same key without."""
    assert parse_key(key) == parse_key(f'"{key}"') == key


@given(st.one_of(st.text(max_size=300), st.text([*' "\\,;aé\x00\x7f'], max_size=8)))
def test_anything_else_is_refused(text: str) -> None:
    """A header is a key of 1 to 255 characters of ASCII or a bad request, and nothing else ever happens."""
    try:
        key = parse_key(text)
    except BadRequest:
        return
    assert 1 <= len(key) <= KEY_MAX
    assert set(key) <= set(CHARACTERS)
    assert text.strip(" \t") in (key, '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"')


@pytest.mark.parametrize(
    "value",
    ["", " ", '""', '"', '"a', 'a"', '"a"b', '"a", "b"', "a b", "a,b", '"a";b=1', '"\\a"', '"é"', "é", f'"{"a" * 256}"', "a" * 256],
)  # fmt: skip
async def test_malformed_key_is_refused_by_name(server: Server, value: str) -> None:
    """Nothing is done: who sent it believes to be able to send it again."""
    admin = await server.admin()
    answer = await post(server, admin, headers={"Idempotency-Key": value})

    assert kind(answer) == (400, "bad-request")
    assert b"Idempotency-Key" in answer[2]
    assert await made(server) == []


async def test_key_stands_once(server: Server) -> None:
    """Two headers are two keys, or none."""
    admin = await server.admin()
    body = json.dumps(GRACE)
    async with raw_peer(server.port) as peer:
        await peer.send(
            "POST /v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {admin.access_token}\r\nContent-Length: {len(body)}\r\n"
            f'Idempotency-Key: "a"\r\nIdempotency-Key: "a"\r\n\r\n{body}'
        )
        assert (await peer.answer()).status == 400
    assert await made(server) == []


# Users


async def test_second_time_is_answered_as_the_first(each_store_url: str) -> None:
    """The same status, bytes, ETag, Location and position, said to be a replay, though the user was changed since."""
    async with serve(store_url=each_store_url) as server:
        admin = await server.admin()
        first = await post(server, admin, {**GRACE, "password": PASSWORD})
        location = first[1]["Location"]
        await server.json("PATCH", location, admin, json={"name": "Rear Admiral"})
        await server.member("ada")
        again = await post(
            server,
            admin,
            {**GRACE, "password": PASSWORD},
            headers={"Idempotency-Key": KEY["Idempotency-Key"].strip('"')},
        )

        assert first[0] == again[0] == 201
        assert again[2] == first[2]
        assert {name: again[1][name] for name in SAME} == {name: first[1][name] for name in SAME}
        assert "Idempotent-Replayed" not in first[1]
        assert again[1]["Idempotent-Replayed"] == "true"
        assert again[1]["X-Request-Id"] != first[1]["X-Request-Id"]
        assert await made(server) == ["grace", "ada"]
        assert (await server.json("GET", location, admin))["name"] == "Rear Admiral"


async def test_other_body_is_refused(server: Server) -> None:
    """Even by a space: what the first one was is answered to it alone."""
    admin = await server.admin()
    await post(server, admin)
    other = await post(server, admin, {**GRACE, "username": "hopper"})
    async with server.request("POST", "/v1/users", admin, data=json.dumps(GRACE) + " ", headers=JSON | KEY) as spaced:
        pass

    assert kind(other) == (422, "idempotency-key-reused")
    assert spaced.status == 422
    assert await made(server) == ["grace"]


async def test_two_at_once_make_one_user(each_store_url: str) -> None:
    """Over two connections, repeatedly: one request runs, the other gets a retry time or the same response."""
    async with serve(store_url=each_store_url) as server:
        admin = await server.admin()
        for number in range(5):
            body = {"username": f"user{number}", "email": f"user{number}@example.com", "password": PASSWORD}
            named = {"Idempotency-Key": f'"{number}"'}
            answers = await asyncio.gather(*(post(server, admin, body, headers=named) for _ in range(2)))
            carried_out = [answer for answer in answers if answer[0] == 201 and "Idempotent-Replayed" not in answer[1]]
            (other,) = [answer for answer in answers if answer is not carried_out[0]]

            assert len(carried_out) == 1
            assert other[0] == 409 or other[2] == carried_out[0][2]
        assert await made(server) == [f"user{number}" for number in range(5)]


async def test_request_in_progress_is_reported(each_store_url: str) -> None:
    """409 and when to come back, whatever the body; another key is not held up by it."""
    async with serve(store_url=each_store_url) as server:
        admin = await server.admin()
        async with held_up(server) as waiting:
            first = asyncio.create_task(post(server, admin))
            await until(lambda: len(waiting) == 1)
            meanwhile = [await post(server, admin), await post(server, admin, {**GRACE, "name": ""})]
            assert len(waiting) == 1
            other = asyncio.create_task(
                post(server, admin, {**GRACE, "name": ""}, headers={"Idempotency-Key": "other"})
            )
            await until(lambda: len(waiting) == 2)

        assert [kind(answer) for answer in meanwhile] == [(409, "request-in-progress")] * 2
        assert meanwhile[0][1]["Retry-After"] == "1"
        assert {(await first)[0], (await other)[0]} == {201, 409}  # one of them has the name
        assert await made(server) == ["grace"]


async def test_client_that_went_away_gets_its_answer(store_url: str) -> None:
    """The write completes although its client is gone; a repeat gets a retry time, then the response."""
    async with serve(store_url=store_url) as server:
        admin = await server.admin()
        body = json.dumps(GRACE)
        async with held_up(server) as waiting:
            async with raw_peer(server.port) as peer:
                await peer.send(
                    "POST /v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    f"Authorization: Bearer {admin.access_token}\r\nContent-Length: {len(body)}\r\n"
                    f"Idempotency-Key: {KEY['Idempotency-Key']}\r\n\r\n{body}"
                )
                await until(lambda: len(waiting) == 1)
            await until(lambda: b'route="/v1/users",status="499"' in server.app[SERVICES].metrics.text())
            assert kind(await post(server, admin)) == (409, "request-in-progress")
        await until(lambda: "create user" not in [task.get_name() for task in asyncio.all_tasks()])
        again = await post(server, admin)

        assert again[0] == 201
        assert again[1]["Idempotent-Replayed"] == "true"
        assert json.loads(again[2])["username"] == "grace"
        assert await made(server) == ["grace"]


async def test_refusal_is_not_kept(server: Server) -> None:
    """A name that is taken, or a field that breaks a rule, may be put right under the same key."""
    admin = await server.admin()
    ada = await server.member("grace")
    refused = [await post(server, admin), await post(server, admin, {**GRACE, "age": -1})]
    await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=204)
    done = await post(server, admin)

    assert [kind(answer) for answer in refused] == [(409, "already-exists"), (422, "invalid-fields")]
    assert done[0] == 201
    assert "Idempotent-Replayed" not in done[1]


async def test_rights_are_asked_for_each_time(server: Server) -> None:
    """A user who is no administrator any more does not get an administrator's stored response; nor does another user."""
    admin, ada = await server.admin(), await server.member("ada")
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": "admin"})
    ada = await server.log_in("ada")
    assert (await post(server, ada))[0] == 201
    assert kind(await post(server, admin)) == (409, "already-exists")
    await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": "member"})
    ada = await server.log_in("ada")

    assert kind(await post(server, ada)) == (403, "forbidden")


async def test_deleted_user_is_not_made_again(store_url: str) -> None:
    """A deleted user is not shown by a stored response: the key is known, and the user is gone."""
    async with serve(store_url=store_url) as server:
        admin = await server.admin()
        first = await post(server, admin)
        await server.json("DELETE", first[1]["Location"], admin, status=204)
        again = await post(server, admin)

        assert kind(again) == (409, "conflict")
        assert b"grace" not in again[2]
        assert await made(server) == []  # its event, too, has no name any more


async def test_answer_outlives_the_process(tmp_path: Path) -> None:
    """A new process on the same file answers what the one before it did."""
    store_url = f"sqlite:///{tmp_path}/roster.db"
    async with serve(store_url=store_url) as server:
        first = await post(server, await server.admin())
    async with serve(store_url=store_url) as server:
        again = await post(server, await server.admin())
        assert kind(await post(server, await server.admin(), {**GRACE, "name": ""})) == (422, "idempotency-key-reused")
        assert await made(server) == ["grace"]

    assert again[1].pop("Idempotent-Replayed") == "true"
    assert (again[0], again[2]) == (first[0], first[2])


async def test_key_is_remembered_as_long_as_settings_say() -> None:
    """Then it is a new one: the user is there already, and that is said."""
    async with serve(idempotency_ttl_s=1) as server:
        admin = await server.admin()
        began = time.monotonic()
        again = await post(server, admin)
        while again[0] == 201 and time.monotonic() < began + 5:
            again = await post(server, admin)

        assert time.monotonic() >= began + 1
        assert kind(again) == (409, "already-exists")


@pytest.mark.parametrize("value", [KEY["Idempotency-Key"], "", "two words"])
async def test_elsewhere_the_header_means_nothing(server: Server, value: str) -> None:
    """GET, PUT, PATCH and DELETE can be sent again as they are; what is under `/v1/auth` answers secrets."""
    admin, ada = await server.admin(), await server.member("ada")
    header = {"Idempotency-Key": value}
    whole = {"username": "ada", "email": "ada@example.com"}
    for age in (1, 2):
        for method, body in (("PUT", {**whole, "age": age}), ("PATCH", {"age": age + 10})):
            changed = await server.json(method, f"/v1/users/{ada.id}", admin, json=body, headers=header)
            assert changed["age"] == body["age"]
    assert (await server.json("GET", "/v1/users/me", ada, headers=header))["age"] == 12
    login = {"login": "ada", "password": PASSWORD}
    tokens = [await server.json("POST", "/v1/auth/login", json=login, headers=header) for _ in range(2)]
    assert tokens[0]["session_id"] != tokens[1]["session_id"]
    new = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
    await server.json("POST", "/v1/auth/register", status=201, json=new, headers=header)
    await server.json("POST", "/v1/auth/register", status=409, json=new, headers=header)
    await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=204, headers=header)
    await server.json("DELETE", f"/v1/users/{ada.id}", admin, status=404, headers=header)


# Rooms

HELLO = {"data": {"text": "hello"}}
LOBBY = "/v1/rooms/lobby/messages"


async def said(server: Server, by: Login, path: str = LOBBY) -> list[Any]:
    return [message["data"] for message in (await server.json("GET", f"{path}?limit=100", by))["items"]]


async def test_message_sent_twice_is_heard_once(server: Server) -> None:
    """The second answer is the first, and says so; another body is refused; every sender and room has its own keys."""
    ada, bob = await server.member("ada"), await server.member("bob")
    first = await post(server, ada, HELLO, LOBBY)
    await post(server, ada, {"data": "between"}, LOBBY, headers={"Idempotency-Key": "other"})
    again = await post(server, ada, HELLO, LOBBY)
    reused = await post(server, ada, {"data": 1}, LOBBY)

    assert (first[0], again[0], again[2]) == (201, 201, first[2])
    assert "Idempotent-Replayed" not in first[1]
    assert again[1]["Idempotent-Replayed"] == "true"
    assert kind(reused) == (422, "idempotency-key-reused")
    for by, path in ((bob, LOBBY), (ada, "/v1/rooms/other/messages")):
        assert "Idempotent-Replayed" not in (await post(server, by, HELLO, path))[1]
    assert await said(server, ada) == [{"text": "hello"}, "between", {"text": "hello"}]


async def test_malformed_key_sends_nothing(server: Server) -> None:
    """As with users."""
    ada = await server.member("ada")
    answer = await post(server, ada, HELLO, LOBBY, headers={"Idempotency-Key": '"'})

    assert kind(answer) == (400, "bad-request")
    await server.json("GET", LOBBY, ada, status=404)


async def test_rights_in_a_room_are_asked_for_each_time() -> None:
    """A user who may not send there any more is refused before the key is looked up."""
    rules = {"news": {"send": "admin"}, "admin.*": {"read": "admin"}}
    async with serve(room_rules=rules) as server:
        admin, ada = await server.admin(), await server.member("ada")
        news, hidden = "/v1/rooms/news/messages", "/v1/rooms/admin.x/messages"
        await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": "admin"})
        ada = await server.log_in("ada")
        assert [(await post(server, ada, HELLO, path))[0] for path in (news, hidden)] == [201, 201]
        await server.json("PATCH", f"/v1/users/{ada.id}", admin, json={"role": "member"})
        ada = await server.log_in("ada")

        assert kind(await post(server, ada, HELLO, news)) == (403, "forbidden")
        assert kind(await post(server, ada, HELLO, hidden)) == (404, "not-found")


async def test_message_that_a_room_does_not_keep_is_not_sent_again() -> None:
    """The key is valid as long as the room lives; a room that is created again knows no keys."""
    async with serve(room_history_count=2) as server:
        ada = await server.member("ada")
        first = await post(server, ada, HELLO, LOBBY)
        for number in range(2):
            await server.json("POST", LOBBY, ada, json={"data": number}, status=201)
        assert kind(await post(server, ada, HELLO, LOBBY)) == (409, "conflict")
        assert await said(server, ada) == [0, 1]
        await server.app[SERVICES].rooms.close()
        anew = await post(server, ada, HELLO, LOBBY)

        assert anew[0] == 201
        assert "Idempotent-Replayed" not in anew[1]
        assert json.loads(anew[2])["id"] != json.loads(first[2])["id"]


async def test_room_without_history_takes_keys() -> None:
    """A message to an empty room, of which nothing is kept, is sent each time."""
    async with serve(room_history_count=0) as server:
        ada = await server.member("ada")
        assert [(await post(server, ada, HELLO, LOBBY))[0] for _ in range(2)] == [201, 201]
