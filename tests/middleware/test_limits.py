"""How many requests an address, then a user, may make."""

from __future__ import annotations

import re

import aiohttp

from tests.support.server import Server, serve

RATE_LIMIT = re.compile(r'"(address|user)";r=(\d+);t=(\d+)\Z')


def told(answer: aiohttp.ClientResponse) -> tuple[str, int, int]:
    """The limit that is tightest, what is left of it, and in how many seconds there is more."""
    match = RATE_LIMIT.match(answer.headers["RateLimit"])
    assert match is not None, answer.headers["RateLimit"]
    return match[1], int(match[2]), int(match[3])


async def ask(server: Server, path: str = "/", **headers: str) -> aiohttp.ClientResponse:
    async with server.request("GET", path, headers=headers) as answer:
        await answer.read()
    return answer


async def test_answers_tell_what_is_left() -> None:
    """Every answer that counts tells the policy, how many requests are left and when there are more."""
    async with serve(rate_limit="5/minute") as server:
        for left, path in ((4, "/"), (3, "/nothing"), (2, "/v1/users/me")):
            answer = await ask(server, path)
            assert told(answer)[:2] == ("address", left)
            assert 1 <= told(answer)[2] <= 60
            assert answer.headers["RateLimit-Policy"] == '"address";q=5;w=60, "user";q=5;w=60'


async def test_too_many_are_429() -> None:
    """Above the limit an address is refused before any work, with a retry time."""
    async with serve(rate_limit="3/minute") as server:
        assert [(await ask(server)).status for _ in range(5)] == [200] * 3 + [429] * 2
        async with server.request("POST", "/v1/auth/login", data=b"nonsense") as answer:
            problem = await answer.json()

        assert (answer.status, problem["type"]) == (429, "/problems/too-many-requests")
        wait = int(answer.headers["Retry-After"])
        assert 1 <= wait <= 60
        assert told(answer)[:2] == ("address", 0)
        assert told(answer)[2] >= wait  # when all are left again, not only one
        assert answer.headers["Cache-Control"] == "no-store"


async def test_health_always_gets_through() -> None:
    """Health checks are neither counted nor refused: a busy service must not be taken for a dead one."""
    async with serve(rate_limit="1/minute") as server:
        for _ in range(5):
            answer = await ask(server, "/health/live")
            assert answer.status == 200
            assert "RateLimit" not in answer.headers
        assert [(await ask(server)).status for _ in range(2)] == [200, 429]
        assert (await ask(server, "/health/ready")).status == 200


async def test_user_behind_many_addresses_is_one() -> None:
    """A user has one limit, from any number of addresses; the response names the limit."""
    async with serve(rate_limit="20/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        ada, bob = await server.member("ada"), await server.member("bob")
        statuses, limit = [], ("", 0)
        for number in range(21):
            async with server.request(
                "GET", "/v1/users/me", ada, headers={"X-Forwarded-For": f"192.0.2.{number}"}
            ) as answer:
                statuses.append(answer.status)
                limit = told(answer)[:2]
        assert statuses == [200] * 19 + [429] * 2  # one was for logging in
        assert limit == ("user", 0)

        async with server.request("GET", "/v1/users/me", bob, headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
            assert answer.status == 200
            assert told(answer)[:2] in (("user", 18), ("address", 18))


async def test_tighter_limit_is_in_the_headers() -> None:
    """Of the address's and the user's limit the answer tells the one of which less is left."""
    async with serve(rate_limit="20/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        ada = await server.member("ada")
        for _ in range(10):
            await ask(server, **{"X-Forwarded-For": "192.0.2.1"})
        for address, name, left in (("192.0.2.1", "address", 9), ("192.0.2.2", "user", 17)):
            async with server.request("GET", "/v1/users/me", ada, headers={"X-Forwarded-For": address}) as answer:
                assert told(answer)[:2] == (name, left)


async def test_limit_can_be_lifted() -> None:
    """With `off` nothing is counted and no header is sent."""
    async with serve(rate_limit="off") as server:
        answer = await ask(server)

        assert answer.status == 200
        assert "RateLimit" not in answer.headers
        assert "RateLimit-Policy" not in answer.headers


async def test_preflights_count(server: Server) -> None:
    """A refused preflight is a request like any other: it cannot be used to get around the limit."""
    async with serve(rate_limit="2/minute", cors_origins=("https://app.example.com",)) as limited:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
        statuses = []
        for _ in range(3):
            async with limited.request("OPTIONS", "/v1/users", headers=headers) as answer:
                statuses.append(answer.status)
        assert statuses == [403, 403, 429]


async def test_feed_over_the_limit_says_so_in_the_stream() -> None:
    """A feed that the limit turns away answers 200 with `closing` and when to come back: EventSource gives up on a 429."""
    async with serve(rate_limit="8/minute") as server:
        ada = await server.member("ada")
        statuses = []
        for _ in range(8):
            async with server.request("GET", "/v1/users/me", ada) as answer:
                statuses.append(answer.status)
        assert statuses[-1] == 429

        async with server.feed(ada) as stream:
            await stream.expect("hello")
            closing = await stream.expect("closing")
            assert closing.data["reason"] == "too_many_requests"
            assert closing.data["reconnect_after_ms"] == closing.retry
            assert closing.data["reconnect_after_ms"] > 5_000
            assert await stream.next() is None


async def test_writes_of_a_user_are_limited() -> None:
    """Over `ROSTER_WRITE_LIMIT` a user changes nothing more, reads on, and can log out; other users are not concerned."""
    async with serve(write_limit="3/day") as server:
        ada, bob = await server.member("ada"), await server.member("bob")
        path = f"/v1/users/{ada.id}"
        for number in range(3):
            await server.json("PATCH", path, ada, json={"name": f"Ada {number}"})
        async with server.request("PATCH", path, ada, json={"name": "Ada 4"}) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) > 3600
            assert "writes" in (await answer.json())["detail"]
        await server.json("GET", path, ada)
        await server.json("PATCH", f"/v1/users/{bob.id}", bob, json={"name": "Bob"})
        await server.json("POST", "/v1/auth/logout", ada, status=204)


async def test_registrations_of_a_network_are_limited() -> None:
    """Over `ROSTER_REGISTRATION_LIMIT` registrations of a network are refused; other networks and logins are not."""
    async with serve(registration_limit="2/hour", trusted_proxies=("127.0.0.0/8",)) as server:
        for name, client, status in (
            ("ada", "192.0.2.1", 201),
            ("bob", "192.0.2.1", 201),
            ("eve", "192.0.2.1", 429),
            ("eve", "192.0.2.2", 201),
        ):
            body = {"username": name, "email": f"{name}@example.com", "password": "correct horse battery"}
            headers = {"X-Forwarded-For": client}
            await server.json("POST", "/v1/auth/register", status=status, json=body, headers=headers)
        await server.log_in("ada", "correct horse battery")
