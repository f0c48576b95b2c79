"""The NDJSON of an import: request lines as domain values, and results as response lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from service.domain.errors import DomainError, Invalid
from service.domain.users.bulk_import import ImportLine
from service.domain.users.import_session import ImportSession, RejectedLine
from service.http import problems
from service.http.ndjson import Numbered, lines
from service.http.problem_details import list_field_problems
from service.http.problems import HttpProblem, find_problem_type
from service.http.strict_json import Malformed, parse_json
from service.schemas.end_lines import ExportEnd, is_end
from service.schemas.errors import field_errors
from service.schemas.imports import ImportRefusal, ImportSummary, UserImport
from service.schemas.problems import ImportProgress

# A body of invalid lines must not become as much memory.
_MOST_REFUSALS: Final = 10_000
_MOST_REFUSAL_BYTES: Final = 4 << 20
_LINES_PER_TURN: Final = 50  # parsing them takes about a millisecond; then other requests get a turn


async def read_lines(request: web.Request) -> AsyncIterator[ImportLine | RejectedLine]:
    """Parse the lines of the body. An invalid line becomes a `RejectedLine`.

    Raises `HttpProblem` if the body breaks off or differs from its end line, and `Unavailable` at shutdown.
    """
    count = 0
    has_ended = False
    async for batch in lines(request):
        for start in range(0, len(batch), _LINES_PER_TURN):
            for numbered in batch[start : start + _LINES_PER_TURN]:
                if has_ended:
                    raise HttpProblem(problems.BAD_REQUEST, f"Line {numbered.number} follows the end line.")
                value: Any = None
                line: ImportLine | RejectedLine | None
                try:
                    value = _parse(numbered)
                    line = None if is_end(value) else _read(numbered, value)
                except (DomainError, HttpProblem) as error:
                    line = RejectedLine(numbered.number, error)
                if line is None:
                    _check_end(numbered, value, count)
                    has_ended = True
                    continue
                count += 1
                yield line
            await asyncio.sleep(0)


def _check_end(numbered: Numbered, value: Any, count: int) -> None:
    """Raises `HttpProblem` where the end line is malformed, or its count differs from the lines before it."""
    try:
        end = ExportEnd.model_validate(value)
    except ValidationError:
        detail = f"Line {numbered.number} must be an end line as an export writes it."
        raise HttpProblem(problems.BAD_REQUEST, detail) from None
    if end.users != count:
        detail = f"The end line counts {end.users} users; {count} lines came before it."
        raise HttpProblem(problems.BAD_REQUEST, detail)


def _parse(numbered: Numbered) -> Any:
    """The JSON value of a line; raises `HttpProblem`."""
    if numbered.text is None:
        raise HttpProblem(problems.TOO_LARGE, "The line is longer than a body may be.")
    try:
        return parse_json(numbered.text)
    except Malformed as error:
        raise HttpProblem(problems.MALFORMED_JSON, str(error).replace("The body", "The line", 1)) from None


def _read(numbered: Numbered, value: Any) -> ImportLine:
    """Validate the fields of a line; raises `Invalid`."""
    try:
        user = UserImport.model_validate(value)
    except ValidationError as error:
        raise Invalid(*field_errors(error)) from None
    return user.to_line(numbered.number)


class ImportReport:
    """The response to an import: a summary, then a line for each refused line, up to 10,000 lines and 4 MiB."""

    def __init__(self) -> None:
        self._refusals: list[bytes] = []
        self._refusal_bytes = 0

    def add(self, number: int, error: Exception) -> None:
        if len(self._refusals) >= _MOST_REFUSALS or self._refusal_bytes >= _MOST_REFUSAL_BYTES:
            return
        refusal = ImportRefusal(
            line=number,
            type=find_problem_type(error).uri,
            detail=str(error),
            errors=list_field_problems(error),
        )
        text = refusal.model_dump_json().encode()
        self._refusals.append(text)
        self._refusal_bytes += len(text)

    def render(self, session: ImportSession) -> bytes:
        omitted = session.counts.refused - len(self._refusals)
        summary = ImportSummary(**progress_of(session).model_dump(), omitted=omitted)
        return b"".join(line + b"\n" for line in (summary.model_dump_json().encode(), *self._refusals))


def progress_of(session: ImportSession) -> ImportProgress:
    counts = session.counts
    return ImportProgress(
        lines=counts.lines,
        created=counts.created,
        updated=counts.updated,
        skipped=counts.skipped,
        refused=counts.refused,
        position=str(session.position),
    )
