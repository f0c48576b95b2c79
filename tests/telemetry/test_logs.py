"""Where log lines go and what they look like."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry import logs
from service.telemetry.logs import ConsoleFormatter, JsonFormatter, LineWriter, choose_format, utc, utc_ms
from tests.support.wait import until


class Slow(io.StringIO):
    """A stream that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.asked = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        self.open.wait(10)
        return super().write(text)


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def record(message: str = "it happened", *args: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("roster.test", logging.WARNING, "x.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def failed(error: Exception) -> logging.LogRecord:
    made = record()
    try:
        raise error
    except type(error) as raised:
        made.exc_info = (type(raised), raised, raised.__traceback__)
    return made


def test_block_stands_below_its_line() -> None:
    """Many lines for a person are lines below; nothing in them is taken for another record, or reaches the terminal."""
    shown = ConsoleFormatter().format(record(to="ada", block="one\n\ntwo\x1b[31m\r12:00:00 error three\n"))

    assert shown[9:].split("\n") == [
        "warning it happened to=ada",
        "    | one",
        "    | ",
        "    | two\\x1b[31m",
        "    | 12:00:00 error three",
    ]
    assert json.loads(JsonFormatter().format(record(block="one\ntwo")))["block"] == "one\ntwo"


# The writer


def test_lines_come_out_in_order() -> None:
    """Lines are written one by one, at the latest when the writer closes, which it may do twice."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    writer.put("one")
    writer.put("two", "three")
    writer.close()
    writer.close()

    assert stream.getvalue() == "one\ntwo\nthree\n"


async def test_lines_are_written_on_flush() -> None:
    """After a flush lines are written in the background."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    writer.put("one")
    writer.flush()
    await until(lambda: stream.getvalue() == "one\n")
    writer.close()


def test_stuck_stream_costs_lines_and_no_time() -> None:
    """While the stream takes nothing lines are kept up to the bound; the rest is dropped, and counted in the log."""
    stream = Slow()
    writer = LineWriter(stream, most_lines=10)
    writer.put("first")
    writer.flush()
    assert stream.asked.wait(10)  # the thread stands in the stream now
    for number in range(15):
        writer.put(str(number))
    writer.close(timeout_s=0.01)  # does not wait for ever either
    stream.open.set()
    writer.close(timeout_s=10)

    lines = stream.getvalue().splitlines()
    assert lines[:11] == ["first", *map(str, range(10))]
    (told,) = [json.loads(line) for line in lines[11:]]
    assert told.pop("time").endswith("Z")
    assert told == {"level": "warning", "logger": "roster", "msg": "log lines dropped", "count": 5}


def test_reader_that_left_stops_nothing() -> None:
    """When stderr is closed, lines go nowhere and nothing fails."""
    writer = LineWriter(Gone(), most_lines=10)
    for _ in range(100):
        writer.put("line")
        writer.flush()
    writer.close()


# The lines


@given(st.text(), st.text())
def test_json_line_is_one_object(message: str, value: str) -> None:
    """Whatever stands in a message or a field, the line is one JSON object in ASCII that says it."""
    line = JsonFormatter().format(record("%s", message, path=value))
    fields = json.loads(line)

    assert line.isascii()
    assert "\n" not in line
    assert (fields["level"], fields["logger"], fields["msg"], fields["path"]) == (
        "warning",
        "roster.test",
        message,
        value,
    )
    assert list(fields)[:4] == ["time", "level", "logger", "msg"]


def test_json_line_says_when_and_why() -> None:
    """A line has its time in UTC and no spaces between fields, and a failure its traceback; what JSON cannot say is said as text."""
    made = failed(ValueError("no\nway"))
    made.created = 1_795_253_400.25
    vars(made)["user"] = {1, 2}.__class__
    line = JsonFormatter().format(made)
    fields = json.loads(line)

    assert line.startswith('{"time":"2026-11-21T09:30:00.250Z","level":"warning",')  # as lines of requests are written
    assert fields["exception"].startswith("Traceback")
    assert fields["exception"].endswith("ValueError: no\nway")
    assert fields["user"] == "<class 'set'>"


@given(st.text(), st.text())
def test_console_line_is_one_line(message: str, value: str) -> None:
    """Whatever stands in a message or a field, a person sees one line, and no terminal obeys it."""
    line = ConsoleFormatter().format(record("%s", message, path=value))

    assert line.isprintable() or not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert len(line.splitlines()) == 1


def test_console_line_is_readable() -> None:
    """Letters of any script and backslashes stand there as they are."""
    line = ConsoleFormatter().format(record("Zoë 🦊 \\d", path="a\nb\x1b[31m"))

    assert line.endswith("warning Zoë 🦊 \\d path=a\\nb\\x1b[31m")


def test_console_shows_a_failure() -> None:
    """A failure is followed by its traceback, in which nothing that was sent can move the cursor either."""
    first, *rest = ConsoleFormatter().format(failed(ValueError("\x1b[2J"))).splitlines()

    assert first.endswith("it happened")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: \\x1b[2J"


@given(st.integers(0, 4_102_444_800_000))
def test_time_is_utc_with_milliseconds(milliseconds: int) -> None:
    """A moment is written as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)

    assert utc_ms(milliseconds) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert utc(milliseconds // 1000) == utc_ms(milliseconds // 1000 * 1000)


# All of it


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """Logging of the tests is as it was after a test that takes it over."""
    names = ("", "aiohttp.server", "asyncio")
    before = [
        (logger, logger.level, list(logger.handlers), list(logger.filters)) for logger in map(logging.getLogger, names)
    ]
    yield
    for logger, level, handlers, filters in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.filters[:] = filters


@pytest.mark.usefixtures("undisturbed")
def test_all_logging_goes_through_one_writer() -> None:
    """Every logger writes to the stream chosen, from the level chosen on, in the form chosen."""
    stream = io.StringIO()
    writer = logs.set_up("info", "json", stream)
    logging.getLogger("roster.test").info("kept", extra={"request_id": "r-1"})
    logging.getLogger("roster.test").debug("left out")
    logging.getLogger("another.library").error("kept too")
    writer.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["logger"], line["msg"]) for line in lines] == [
        ("info", "roster.test", "kept"),
        ("error", "another.library", "kept too"),
    ]
    assert lines[0]["request_id"] == "r-1"


@pytest.mark.usefixtures("undisturbed")
def test_console_is_written_where_a_person_watches() -> None:
    """`auto` is the console's form on a terminal and JSON elsewhere; a choice is a choice."""
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader):
        assert choose_format("auto", terminal) == "console"
        assert choose_format("json", terminal) == "json"
    assert choose_format("auto", io.StringIO()) == "json"
    assert choose_format("console", io.StringIO()) == "console"


@pytest.mark.usefixtures("undisturbed")
def test_line_that_cannot_be_rendered_does_not_stop_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in a call to a logger is reported on stderr, not to the caller."""
    stream = io.StringIO()
    writer = logs.set_up("info", "console", stream)
    logging.getLogger("roster.test").info("%d", "no number")
    logging.getLogger("roster.test").info("the next")
    writer.close()

    assert "no number" in capsys.readouterr().err
    assert stream.getvalue().endswith("the next\n")
