"""One line a request."""

from __future__ import annotations

import io
import json
import re
from typing import Literal

import pytest

from service.telemetry.access import AccessLog
from service.telemetry.logs import LineWriter
from tests.support.wait import until

USER = "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11"


def put(log: AccessLog, status: int = 200, user: str | None = USER, problem: str | None = None) -> None:
    log.put("GET", "/v1/users/{id}", status, 0.0012345, 42, "r-1", user, "::1", problem)


async def test_line_is_json() -> None:
    """A line is one JSON object with user, request, outcome, duration and size."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    log = AccessLog(writer, "json", every_s=0.001)
    put(log)
    put(log, 404, None, "not-found")
    await until(stream.getvalue)
    writer.close()

    one, other = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one.pop("time"))
    assert one == {
        "level": "info",
        "logger": "roster.access",
        "msg": "request",
        "method": "GET",
        "route": "/v1/users/{id}",
        "status": 200,
        "ms": 1.234,
        "bytes": 42,
        "request_id": "r-1",
        "user": USER,
        "client": "::1",
    }
    assert (other["status"], other["user"], other["problem"]) == (404, None, "not-found")


async def test_line_is_for_people() -> None:
    """On the console the same is one short line."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    log = AccessLog(writer, "console", every_s=0.001)
    put(log, user=None)
    put(log, 404, None, "not-found")
    await until(stream.getvalue)
    writer.close()

    assert [line[8:] for line in stream.getvalue().splitlines()] == [
        " 200 GET /v1/users/{id} 1.2 ms 42 B id=r-1 user=- client=::1",
        " 404 GET /v1/users/{id} 1.2 ms 42 B id=r-1 user=- client=::1 problem=not-found",
    ]


@pytest.mark.parametrize("form", ["json", "console"])
async def test_lines_that_gathered_are_not_lost_at_the_end(form: Literal["json", "console"]) -> None:
    """Requests served just before the end are written, too; closing twice is harmless."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    log = AccessLog(writer, form, every_s=60)
    for _ in range(3):
        put(log)
    assert stream.getvalue() == ""
    log.close()
    log.close()
    writer.close()

    assert len(stream.getvalue().splitlines()) == 3
