"""Every refusal is a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import pytest

from service.domain import errors
from service.domain.errors import FieldError
from service.http import problems
from service.http.problems import PROBLEM_TYPES, HttpProblem, find_problem_type
from service.store.memory.users import MemoryUserReads
from tests.support.server import Server


async def refused(server: Server, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[Any, Any]:
    """The response when reading the own account raises this error."""
    admin = await server.admin()

    async def raises(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(MemoryUserReads, "find", raises)
        async with server.request("GET", "/v1/users/me?x=1", admin) as answer:
            return answer, await answer.json()


CASES: list[tuple[BaseException, int, str, dict[str, str], dict[str, Any]]] = [
    (errors.BadRequest(), 400, "bad-request", {}, {}),
    (errors.InvalidCursor(), 400, "bad-request", {}, {}),
    (errors.InvalidGrant(), 400, "invalid-grant", {}, {}),
    (errors.RefreshTokenReused(UUID(int=1), UUID(int=2)), 400, "invalid-grant", {}, {}),
    (errors.Unauthenticated(), 401, "unauthenticated", {"WWW-Authenticate": 'Bearer realm="roster"'}, {}),
    (errors.InvalidCredentials(), 401, "invalid-credentials", {"WWW-Authenticate": 'Bearer realm="roster"'}, {}),
    (errors.OtpRequired(), 401, "otp-required", {"WWW-Authenticate": 'Bearer realm="roster"'}, {}),
    (errors.InvalidOtp(), 401, "invalid-otp", {"WWW-Authenticate": 'Bearer realm="roster"'}, {}),
    (
        errors.InvalidToken(),
        401,
        "invalid-token",
        {"WWW-Authenticate": 'Bearer realm="roster", error="invalid_token"'},
        {},
    ),
    (errors.Forbidden(), 403, "forbidden", {}, {}),
    (errors.NotFound(), 404, "not-found", {}, {}),
    (errors.Conflict(), 409, "conflict", {}, {}),
    (errors.LastAdmin(), 409, "last-admin", {}, {}),
    (
        errors.AlreadyExists("email"),
        409,
        "already-exists",
        {},
        {"errors": [{"pointer": "/email", "code": "already_exists", "detail": "Another account has this already."}]},
    ),
    (
        errors.PositionUnavailable("trimmed", "k3f9-7"),
        410,
        "position-unavailable",
        {},
        {"reason": "trimmed", "position": "k3f9-7", "resync": "/v1/users"},
    ),
    (errors.VersionMismatch(), 412, "precondition-failed", {}, {}),
    (
        errors.Invalid(FieldError("/age", "too_high", "Too high")),
        422,
        "invalid-fields",
        {},
        {"errors": [{"pointer": "/age", "code": "too_high", "detail": "Too high"}]},
    ),
    (errors.TooMany(0.2), 429, "too-many-requests", {"Retry-After": "1"}, {}),
    (errors.TooMany(59.1), 429, "too-many-requests", {"Retry-After": "60"}, {}),
    (errors.Unavailable(), 503, "service-unavailable", {"Retry-After": "1"}, {}),
    (errors.StorageFull(), 507, "insufficient-storage", {"Retry-After": "30"}, {}),
    (HttpProblem(problems.TOO_LARGE, "Too much.", {"X-More": "y"}), 413, "payload-too-large", {"X-More": "y"}, {}),
]


@pytest.mark.parametrize(
    ("error", "status", "slug", "headers", "more"), CASES, ids=lambda case: case if isinstance(case, str) else None
)
async def test_refusal_is_a_document(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    slug: str,
    headers: dict[str, str],
    more: dict[str, Any],
) -> None:
    """A problem says what, why, where and how to continue, with the same status, and is not cached."""
    answer, problem = await refused(server, monkeypatch, error)

    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert problem == {
        "type": f"/problems/{slug}",
        "title": PROBLEM_TYPES[slug].title,
        "status": status,
        "detail": str(error),
        "instance": "/v1/users/me",
        "request_id": answer.headers["X-Request-Id"],
        **more,
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert {name: answer.headers[name] for name in headers} == headers


async def test_our_own_fault_says_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error is a 500 without details; the log has them, under the id in the response."""
    with caplog.at_level(logging.ERROR, "roster.problems"):
        answer, problem = await refused(server, monkeypatch, RuntimeError("the password is hunter2"))

    assert (answer.status, problem["type"], problem["detail"]) == (
        500,
        "/problems/internal-error",
        problems.INTERNAL.remedy,
    )
    assert "hunter2" not in str(problem) + str(answer.headers)
    (record,) = [record for record in caplog.records if record.name == "roster.problems"]
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])
    assert (record.__dict__["request_id"], record.__dict__["method"], record.__dict__["client"]) == (
        problem["request_id"],
        "GET",
        "127.0.0.1",
    )
    assert (await server.json("GET", "/health/live"))["status"] == "ok"


async def test_refusals_are_not_faults(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a caller does wrong does not stand in the log as if it were ours."""
    await refused(server, monkeypatch, errors.NotFound())

    assert [record for record in caplog.records if record.name == "roster.problems"] == []


async def test_refusals_of_the_framework_are_documents(server: Server) -> None:
    """Errors that aiohttp raises after its parser have the same shape."""
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing?q=%00", 404),
        ("DELETE", "/v1/users", 405),
        ("GET", "/static", 404),
    ):
        async with server.request(method, path) as answer:
            problem = await answer.json()
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert (problem["status"], problem["instance"]) == (status, path.split("?")[0])


async def test_missing_file_is_a_document(server: Server) -> None:
    """A file that is not there is refused like any other path."""
    async with server.request("GET", "/static/nothing.css") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_every_kind_has_a_page(server: Server) -> None:
    """The type of a problem leads to a page that says what it means and what to do."""
    for slug, kind in PROBLEM_TYPES.items():
        async with server.request("GET", f"/problems/{slug}") as answer:
            page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert kind.title in page
    async with server.request("GET", "/problems/nothing") as answer:
        assert answer.status == 404


def test_every_refusal_has_a_kind() -> None:
    """Each refusal of the rules has a kind of problem of its own or its parent's, and none is our fault."""
    refusals = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)
    ]
    made = [kind.__new__(kind) for kind in refusals if kind is not errors.DomainError]

    assert [type(error).__name__ for error in made if find_problem_type(error) is problems.INTERNAL] == []
    assert find_problem_type(RuntimeError()) is problems.INTERNAL


def test_problem_types_are_distinct() -> None:
    """Slugs and codes are unique, and every kind says in a sentence what can be done."""
    assert len({kind.code for kind in PROBLEM_TYPES.values()}) == len(PROBLEM_TYPES)
    for slug, kind in PROBLEM_TYPES.items():
        assert slug == kind.slug == kind.code.replace("_", "-")
        assert 400 <= kind.status < 600
        assert kind.remedy.endswith(".")
        assert not kind.title.endswith(".")
