"""Pages of other origins, and handshakes that are none (RFC 6455, 4.2.1): refused before the connection is a WebSocket."""

from __future__ import annotations

import json

import pytest

from tests.support.hostile import Outcome, assert_serves, exchange, message
from tests.support.server import Login, Server, serve

ALLOWED = "https://app.example.com"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"


async def knock(server: Server, path: str, *headers: str) -> Outcome:
    """A handshake that is right, with these headers besides."""
    outcome = await exchange(server, message("GET", path, UPGRADE, CONNECTION, VERSION, KEY, *headers))
    await assert_serves(server)
    return outcome


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
@pytest.mark.parametrize(
    ("status", "origins"),
    [
        pytest.param(101, (), id="none"),
        pytest.param(101, ("http://127.0.0.1",), id="our own"),
        pytest.param(101, (ALLOWED,), id="allowed"),
        pytest.param(101, (ALLOWED.upper(),), id="allowed, in capitals"),
        pytest.param(403, ("null",), id="null"),
        pytest.param(403, ("",), id="empty"),
        pytest.param(403, ("127.0.0.1",), id="no scheme"),
        pytest.param(403, ("file://",), id="no host"),
        pytest.param(403, ("ftp://127.0.0.1",), id="other scheme"),
        pytest.param(403, ("http://127.0.0.1:81",), id="our host on another port"),
        pytest.param(403, ("http://127.0.0.1/",), id="path after our host"),
        pytest.param(403, ("http://127.0.0.1@evil.example",), id="our host as a user"),
        pytest.param(403, ("http://127.0.0.1.evil.example",), id="our host as a subdomain"),
        pytest.param(403, ("http://evil.example",), id="foreign"),
        pytest.param(403, ("http://app.example.com",), id="allowed host without TLS"),
        pytest.param(403, ("https://app.example.com.evil.example",), id="allowed host as a subdomain"),
        pytest.param(403, ("https://evilapp.example.com",), id="allowed host as an ending"),
        pytest.param(403, ("http://[",), id="open bracket"),
        pytest.param(403, ("http://[::1",), id="half an address"),
        pytest.param(403, ("http://\xff",), id="byte"),
        pytest.param(403, ("*",), id="star"),
        pytest.param(403, (f"{ALLOWED} http://evil.example",), id="two in one"),
        pytest.param(403, (ALLOWED, "http://evil.example"), id="two, one allowed"),
        pytest.param(403, ("http://evil.example", ALLOWED), id="two, the other allowed"),
    ],
)
async def test_origin_of_a_websocket(target: Server, path: str, status: int, origins: tuple[str, ...]) -> None:
    """A page of an origin that is neither ours nor allowed gets 403 instead of a WebSocket, and its connection ends."""
    outcome = await knock(target, path, *(f"Origin: {origin}" for origin in origins))

    assert outcome.status == status
    assert outcome.answer is not None
    if status == 403:
        assert json.loads(outcome.answer.body)["type"] == "/problems/origin-not-allowed"
        assert not outcome.goes_on


async def test_public_url_is_the_only_own_origin() -> None:
    """With `PUBLIC_URL` the `Host` of a request proves nothing: an attacker can point a name of its own at the service."""
    async with serve(public_url="https://roster.example.com") as server:
        statuses = {
            origin: (await knock(server, "/v1/echo", f"Origin: {origin}")).status
            for origin in ("https://roster.example.com", "http://127.0.0.1", "http://roster.example.com")
        }

    assert list(statuses.values()) == [101, 403, 403]


async def test_cookie_opens_streams_to_pages_of_ours_only(target: Server, ada: Login) -> None:
    """The stream cookie counts where the browser says that the page is ours; of a WebSocket it says so always."""
    async with target.request("POST", "/v1/auth/ticket", ada, headers={"Connection": "close"}) as answer:
        ((name, morsel),) = answer.cookies.items()
        cookie = f"Cookie: {name}={morsel.value}"
        query = f"?ticket={(await answer.json())['ticket']}"

    async def feed(*headers: str) -> int | None:
        return (await exchange(target, message("HEAD", f"/v1/feed{query}", cookie, *headers))).status

    assert await feed() == 200  # by the ticket, which is spent from now on
    assert await feed() == 200
    assert await feed("Sec-Fetch-Site: same-origin") == 200
    assert await feed("Origin: http://127.0.0.1") == 200
    assert await feed("Sec-Fetch-Site: same-site") == 403
    assert await feed("Sec-Fetch-Site: cross-site") == 403
    assert await feed("Origin: null") == 403
    assert await feed(f"Origin: {ALLOWED}") == 403
    assert (await knock(target, f"/v1/ws{query}", cookie, "Origin: http://127.0.0.1")).status == 101
    assert (await knock(target, f"/v1/ws{query}", cookie)).status == 403
    assert (await knock(target, f"/v1/ws{query}", cookie, f"Origin: {ALLOWED}")).status == 403
    # Where a token is sent besides, the cookie is not needed and not looked at.
    bearer = f"Authorization: Bearer {ada.access_token}"
    assert (await knock(target, "/v1/ws", cookie, bearer)).status == 101


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(426, (UPGRADE, CONNECTION, KEY, "Sec-WebSocket-Version: 12"), id="version 12"),
        pytest.param(426, (UPGRADE, CONNECTION, KEY, "Sec-WebSocket-Version: 13, 8"), id="two versions"),
        pytest.param(426, (UPGRADE, CONNECTION, KEY), id="no version"),
        pytest.param(426, (UPGRADE, KEY, VERSION), id="no Connection"),
        pytest.param(426, (UPGRADE, "Connection: keep-alive", KEY, VERSION), id="other Connection"),
        pytest.param(426, (CONNECTION, KEY, VERSION), id="no Upgrade"),
        pytest.param(426, ("Upgrade: h2c", CONNECTION, KEY, VERSION), id="other Upgrade"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION), id="no key"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: "), id="empty key"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: YQ=="), id="short key"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, KEY + "AA"), id="long key"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: " + "!" * 24), id="key not in base64"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: \xff"), id="key of a byte"),
        pytest.param(400, (UPGRADE, CONNECTION, VERSION, KEY, KEY), id="two keys"),
    ],
)
async def test_handshake_that_is_none(
    target: Server, ada: Login, path: str, status: int, headers: tuple[str, ...]
) -> None:
    """A request that is no handshake gets an explanation, and nothing after it is read."""
    bearer = f"Authorization: Bearer {ada.access_token}"
    outcome = await exchange(target, message("GET", path, bearer, *headers))

    assert outcome.status == status
    assert not outcome.goes_on
    assert outcome.answer is not None
    assert outcome.answer.headers["content-type"] == "application/problem+json"
    if status == 426:
        assert outcome.answer.headers["upgrade"] == "websocket"
        if UPGRADE in headers and CONNECTION in headers:
            assert outcome.answer.headers["sec-websocket-version"] == "13"
    await assert_serves(target)


async def test_handshake_over_http_1_0_is_refused(target: Server) -> None:
    """A WebSocket needs HTTP/1.1: a proxy that speaks 1.0 would not know what it carries."""
    data = message("GET", "/v1/echo", UPGRADE, CONNECTION, VERSION, KEY, version="HTTP/1.0")
    outcome = await exchange(target, data)

    assert outcome.status == 426
    assert not outcome.goes_on


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/ws"])
async def test_other_methods_are_405(target: Server, path: str) -> None:
    """A handshake by another method is 405 and says by which one."""
    outcome = await exchange(target, message("POST", path, UPGRADE, CONNECTION, VERSION, KEY))

    assert outcome.status == 405
    assert outcome.answer is not None
    assert outcome.answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert not outcome.goes_on


@pytest.mark.parametrize(
    "header",
    [
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: x-unknown; a=1, ;;;,",
        "Sec-WebSocket-Protocol: unknown",
        "Sec-WebSocket-Protocol: ,,, \xff",
    ],
)
async def test_what_is_offered_and_unknown_is_declined(target: Server, header: str) -> None:
    """Extensions and subprotocols that are not spoken are declined by leaving them out."""
    for path in ("/v1/echo", "/v1/ws"):
        outcome = await knock(target, path, header)
        assert outcome.status == 101
        assert outcome.answer is not None
        assert header.partition(":")[0].lower() not in outcome.answer.headers


async def test_known_subprotocol_is_chosen(target: Server) -> None:
    """Of several subprotocols offered, `roster.v1` is taken."""
    outcome = await knock(target, "/v1/ws", "Sec-WebSocket-Protocol: other, roster.v1")

    assert outcome.answer is not None
    assert outcome.answer.headers["sec-websocket-protocol"] == "roster.v1"


async def test_echo_can_be_switched_off_and_has_a_bound() -> None:
    """Without `ECHO` the path is 404; with it an address gets so many connections and then 429."""
    async with serve(echo=False) as server:
        assert (await knock(server, "/v1/echo")).status == 404
    async with serve(echo_connections_per_address=2) as server, server.ws(path="/v1/echo"), server.ws(path="/v1/echo"):
        refused = await knock(server, "/v1/echo")
    assert refused.status == 429
    assert refused.answer is not None
    assert int(refused.answer.headers["retry-after"]) >= 1


def granted(outcome: Outcome) -> dict[str, str]:
    """The responses that a browser of that origin may read."""
    assert outcome.answer is not None
    assert "origin" in outcome.answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in outcome.answer.headers
    return {name: value for name, value in outcome.answer.headers.items() if name.startswith("access-control-")}


FOREIGN = (
    "null",
    "https://good.evil.com",
    "http://app.example.com",
    "https://app.example.com.evil.com",
    "https://evilapp.example.com",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "*",
    "http://[",
    "\xff",
)


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origin_is_granted_nothing(target: Server, ada: Login, origin: str) -> None:
    """A page of an origin that is not allowed is granted nothing, whatever it asks for; never is any origin reflected."""
    bearer, header = f"Authorization: Bearer {ada.access_token}", f"Origin: {origin}"
    preflight = "Access-Control-Request-Method: GET"
    for data in (
        message("GET", "/v1/users/me", bearer, header),
        message("GET", "/v1/users/me", header),
        message("GET", "/nowhere", header),
        message("OPTIONS", "/v1/users/me", header, preflight),
    ):
        assert granted(await exchange(target, data)) == {}
    await assert_serves(target)


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (200, "GET", "/v1/users/me", ("bearer",)),
        (200, "HEAD", "/v1/users/me", ("bearer",)),
        (200, "HEAD", "/v1/feed", ("bearer",)),
        (401, "GET", "/v1/users/me", ()),
        (403, "GET", "/v1/users", ("bearer",)),
        (404, "GET", "/v1/users/0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11", ("bearer",)),
        (404, "GET", "/nowhere", ()),
        (405, "PUT", "/v1/users", ()),
        (415, "POST", "/v1/auth/register", ()),
        (421, "GET", "http://evil.example/", ()),
        (426, "GET", "/v1/echo", ()),
    ],
)
async def test_allowed_origin_may_read_every_answer(
    target: Server, ada: Login, status: int, method: str, path: str, headers: tuple[str, ...]
) -> None:
    """A page of an allowed origin may read every answer, refusals included, without credentials of the browser."""
    bearer = [f"Authorization: Bearer {ada.access_token}"] if headers else []
    outcome = await exchange(target, message(method, path, *bearer, f"Origin: {ALLOWED}"))

    assert outcome.status == status
    grant = granted(outcome)
    assert grant["access-control-allow-origin"] == ALLOWED
    exposed = {name.strip().lower() for name in grant["access-control-expose-headers"].split(",")}
    assert exposed == {
        "etag", "idempotent-replayed", "link", "location", "roster-position", "ratelimit", "ratelimit-policy",
        "retry-after", "x-request-id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "path", "asked", "headers"),
    [
        (True, "/v1/users", "POST", "Authorization, Content-Type, Idempotency-Key"),
        (True, "/v1/users/0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11", "PATCH", "if-match,content-type"),
        (True, "/v1/feed", "GET", "last-event-id"),
        (True, "/v1/users/me", "GET", ""),
        (False, "/v1/users", "DELETE", ""),
        (False, "/v1/users", "TRACE", ""),
        (False, "/v1/users", "FOO", ""),
        (False, "/v1/users", "", ""),
        (False, "/v1/users", "POST", "X-Evil"),
        (False, "/v1/users", "POST", "Cookie"),
        (False, "/v1/users", "POST", "Authorization, \xff"),
        (False, "/nowhere", "GET", ""),
    ],
)
async def test_preflight(target: Server, allowed: bool, path: str, asked: str, headers: str) -> None:
    """A preflight is granted for methods and headers that are there, and refused with nothing granted for others."""
    lines = [f"Origin: {ALLOWED}", f"Access-Control-Request-Method: {asked}"]
    if headers:
        lines.append(f"Access-Control-Request-Headers: {headers}")
    outcome = await exchange(target, message("OPTIONS", path, *lines))
    grant = granted(outcome)

    assert outcome.status is not None
    assert (outcome.status < 300) is allowed
    assert outcome.status < 500
    assert ("access-control-allow-methods" in grant) is allowed
    if allowed:
        assert grant["access-control-allow-origin"] == ALLOWED
    await assert_serves(target)


async def test_vary_names_the_origin_also_without_one(target: Server) -> None:
    """Every answer says that it differs by origin, or a cache would give one page's to another."""
    for path in ("/", "/health/live", "/nowhere", "/v1/users", "/openapi.json"):
        outcome = await exchange(target, message("GET", path))
        assert granted(outcome) == {}
