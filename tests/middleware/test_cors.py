"""Which browser pages may call, by an allow-list and never with credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from service.routes import routes
from tests.support.server import Server, serve

OURS = "https://app.example.com"
EXPOSED = {
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Roster-Position",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
}
ALLOWED = (
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Request-Id",
)
FOREIGN = (
    "null",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    f"{OURS}:8443",
)


@pytest.fixture
async def open_to_ours() -> AsyncIterator[Server]:
    async with serve(cors_origins=(OURS, "https://other.example.com"), rate_limit="1000/minute") as server:
        yield server


def listed(headers: Mapping[str, str], name: str) -> set[str]:
    return {value.strip().lower() for value in headers.get(name, "").split(",") if value.strip()}


def preflight(origin: str, method: str, *headers: str) -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked | ({"Access-Control-Request-Headers": ", ".join(headers)} if headers else {})


async def test_preflight_of_ours_is_granted(open_to_ours: Server) -> None:
    """A page of an allowed origin may send any method that a path has, with the headers of this API, and without credentials."""
    for template, view in ((route.path, route.handler) for route in routes):  # type: ignore[attr-defined]  # a table of views
        path = template.format(id="x", token_id="x", slug="not-found", room="lobby")
        for method in view.operations:
            headers = preflight(OURS, method, *ALLOWED)
            async with open_to_ours.request("OPTIONS", path, headers=headers) as answer:
                assert answer.status == 200, (method, path)
            assert answer.headers["Access-Control-Allow-Origin"] == OURS
            assert listed(answer.headers, "Access-Control-Allow-Methods") == {method.lower()}
            assert listed(answer.headers, "Access-Control-Allow-Headers") == {name.lower() for name in ALLOWED}
            assert answer.headers["Access-Control-Max-Age"] == "600"
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_other_preflights_are_refused(open_to_ours: Server) -> None:
    """Another origin, a method that the path has not, and a header that is not used here are refused without a grant."""
    asked = [preflight(origin, "GET") for origin in FOREIGN]
    asked += [preflight(OURS, "PUT"), preflight(OURS, "GET", "X-Other")]
    for headers in asked:
        async with open_to_ours.request("OPTIONS", "/v1/users", headers=headers) as answer:
            assert (answer.status, (await answer.json())["type"]) == (403, "/problems/forbidden")
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_answers_to_ours_may_be_read(open_to_ours: Server) -> None:
    """Answers and refusals, of known paths and unknown, are readable to an allowed page with all their headers."""
    admin = await open_to_ours.admin()
    for method, path, status in (
        ("GET", "/v1/users/me", 200),
        ("HEAD", "/v1/users/me", 200),
        ("GET", "/v1/users?limit=0", 400),
        ("GET", "/v1/users/absent", 404),
        ("GET", "/nothing", 404),
        ("PROPFIND", "/v1/users", 405),
        ("DELETE", "/v1/users", 405),
        ("OPTIONS", "/v1/users", 204),
    ):
        async with open_to_ours.request(method, path, admin, headers={"Origin": OURS}) as answer:
            assert answer.status == status, (method, path)
        assert answer.headers["Access-Control-Allow-Origin"] == OURS, (method, path)
        assert listed(answer.headers, "Access-Control-Expose-Headers") == {name.lower() for name in EXPOSED}
        assert "Access-Control-Allow-Credentials" not in answer.headers
    async with open_to_ours.request("GET", "/v1/users/me", headers={"Origin": OURS}) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, OURS)


async def test_answers_to_others_may_not(open_to_ours: Server) -> None:
    """Other origins get normal responses, and their pages cannot read them."""
    admin = await open_to_ours.admin()
    for origin in FOREIGN:
        for path in ("/v1/users/me", "/nothing"):
            async with open_to_ours.request("GET", path, admin, headers={"Origin": origin}) as answer:
                assert answer.status in (200, 404)
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_streams_may_be_read(open_to_ours: Server) -> None:
    """The feed is readable to an allowed page like any answer."""
    ada = await open_to_ours.member("ada")
    async with open_to_ours.feed(ada, headers={"Origin": OURS}) as stream:
        await stream.expect("hello")
        assert stream.response.headers["Access-Control-Allow-Origin"] == OURS


async def test_every_answer_varies_by_origin(open_to_ours: Server, server: Server) -> None:
    """No cache may hand one origin's answer to another, whether or not any origin is allowed."""
    for each in (open_to_ours, server):
        for path in ("/v1/users/me", "/nothing", "/health/live", "/"):
            for headers in ({}, {"Origin": OURS}):
                async with each.request("GET", path, headers=headers) as answer:
                    assert "origin" in listed(answer.headers, "Vary"), path


async def test_no_origin_is_allowed_by_default(server: Server) -> None:
    """Without a setting no origin gets a grant."""
    async with server.request("OPTIONS", "/v1/users", headers=preflight(OURS, "GET")) as answer:
        assert answer.status == 403
    async with server.request("GET", "/health/live", headers={"Origin": OURS}) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_refused_origin_is_logged_once_with_its_setting(caplog: pytest.LogCaptureFixture) -> None:
    """The operator reads which origin was refused and which setting would allow it, in one line."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    async with serve(cors_origins=[OURS]) as server:
        for _ in range(3):
            async with server.request("OPTIONS", "/v1/users", headers=headers) as answer:
                assert answer.status == 403
        async with server.request("OPTIONS", "/v1/users", headers={**headers, "Origin": OURS}) as answer:
            assert answer.status == 200
    (line,) = [
        record for record in caplog.records if record.getMessage() == "preflight refused: the origin is not allowed"
    ]
    assert (line.__dict__["origin"], line.__dict__["setting"]) == ("https://evil.example", "ROSTER_CORS_ORIGINS")
