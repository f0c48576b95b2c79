"""The log lines of hostile clients: at most one each, without any of their text."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from service.telemetry import logs
from tests.support.hostile import exchange, message
from tests.support.server import Server


@pytest.fixture
def written() -> Iterator[Callable[[], str]]:
    """Logs as a service of production does; a call ends that and gives what was written."""
    loggers = [logging.getLogger(name) for name in ("", "aiohttp.server", "asyncio")]
    before = [(logger, logger.level, list(logger.handlers), list(logger.filters)) for logger in loggers]
    stream = io.StringIO()
    writer = logs.set_up("info", "json", stream)

    def end() -> str:
        writer.close()
        return stream.getvalue()

    yield end
    writer.close()
    for logger, level, handlers, filters in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.filters[:] = filters


async def test_malformed_requests_are_a_line_each_without_a_traceback(
    target: Server, written: Callable[[], str]
) -> None:
    """Requests that the parser refuses can be sent at any rate: each is one line at level info, unquoted."""
    secret = "hunter2"
    broken = (
        message(host=None),
        message("GET", f"/{secret}\xff"),
        message("GET", f"/{secret}" + "a" * 9000),
        message("GET", "/health/live", f"X-A: {secret}\x1b[2J"),
        message("POST", "/v1/auth/login", "Transfer-Encoding: chunked", body=secret),
        message(
            "POST", "/v1/auth/login", "Content-Type: application/json", "Content-Encoding: gzip", "Content-Length: 7",
            body=secret,
        ),
    )  # fmt: skip
    for data in broken:
        assert (await exchange(target, data)).status in (400, 415)

    text = written()
    lines = [json.loads(line) for line in text.splitlines()]
    assert 1 <= len(lines) <= len(broken)
    assert {line["level"] for line in lines} == {"info"}
    assert not any("exception" in line for line in lines)
    assert secret not in text
    assert "Traceback" not in text
