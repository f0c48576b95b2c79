"""One import while it runs: from lines to batches, and what is told of them."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from service.domain.errors import DomainError, Forbidden, Invalid, Unavailable
from service.domain.events.position import Position
from service.domain.users import bulk_import
from service.domain.users.bulk_import import (
    BATCH,
    ImportBatch,
    ImportLine,
    OnConflict,
)
from service.http import problems
from service.http.ndjson import Numbered, lines
from service.http.problems import HttpProblem, kind_of
from service.http.strict_json import Malformed, parse_json
from service.http.view import View
from service.middleware.problems import field_problems
from service.schemas.end_lines import ExportEnd, is_end
from service.schemas.errors import field_errors
from service.schemas.imports import ImportRefusal, ImportSummary, UserImport
from service.schemas.problems import ImportProgress

# Refusals that are kept to be told: a file of rubbish must not become as much memory.
_MOST_TOLD: Final = 10_000
_MOST_TOLD_BYTES: Final = 4 << 20
_TURN: Final = 50  # lines are read so many at a time, which takes about a millisecond; then others have their turn
_HASH_TRIES: Final = 100
_HASH_AGAIN_S: Final = 0.1


class Importing:
    """Reads the body of a request and has it carried out, batch by batch."""

    def __init__(self, view: View, on_conflict: OnConflict, position: Position, name: UUID) -> None:
        self._view = view
        self._services = view.services
        self._on_conflict = on_conflict
        self._name = name
        self._batch: list[ImportLine] = []
        self._unfit: list[tuple[int, Exception]] = []
        self._last = 0
        self._seen = 0
        self._is_ended = False
        self._writing: tuple[asyncio.Task[ImportBatch], list[tuple[int, Exception]], int] | None = None
        self._told: list[bytes] = []
        self._told_bytes = 0
        self._done = 0
        self._total = ImportBatch(position=position)
        self._refused = 0

    async def run(self) -> None:
        """Carry out every line; raises `DomainError` or `HttpProblem` where it ends before: `progress` tells where."""
        try:
            async for several in lines(self._view.request):
                for start in range(0, len(several), _TURN):
                    for numbered in several[start : start + _TURN]:
                        await self._take(numbered)
                    await asyncio.sleep(0)
            await self._carry_out()
        finally:
            await self._settle()

    async def _take(self, numbered: Numbered) -> None:
        if self._is_ended:
            raise HttpProblem(problems.BAD_REQUEST, f"Line {numbered.number} follows the end line.")
        try:
            value = _parse(numbered)
            read = None if is_end(value) else _read(numbered, value)
        except (DomainError, HttpProblem) as error:
            self._seen += 1
            self._last = numbered.number
            self._unfit.append((numbered.number, error))
        else:
            if read is None:
                self._end(numbered, value)
                return
            line, password = read
            self._seen += 1
            self._last = numbered.number
            self._batch.append(line if password is None else await self._with_hash(line, password))
        if len(self._batch) + len(self._unfit) >= BATCH:
            await self._carry_out()

    def _end(self, numbered: Numbered, value: Any) -> None:
        """Check the last line of an export; raises `HttpProblem` where lines are missing, or are too many."""
        try:
            end = ExportEnd.model_validate(value)
        except ValidationError:
            detail = f"Line {numbered.number} must be an end line as an export writes it."
            raise HttpProblem(problems.BAD_REQUEST, detail) from None
        if end.users != self._seen:
            detail = f"The end line counts {end.users} users; {self._seen} lines came before it."
            raise HttpProblem(problems.BAD_REQUEST, detail)
        self._is_ended = True

    async def _with_hash(self, line: ImportLine, password: str) -> ImportLine:
        # A hash takes longer than all the rest of a batch: none for somebody who will be left as it is.
        if self._on_conflict != "update" and await bulk_import.there(self._services.store, line):
            return line.without_hash()
        return line.with_hash(await self._hash(password))

    async def _hash(self, password: str) -> str:
        """Patient where logins keep the threads busy, for as long as anybody would wait."""
        for _ in range(_HASH_TRIES):
            self._go_on()
            try:
                return await self._services.hasher.hash(password)
            except Unavailable:
                await asyncio.sleep(_HASH_AGAIN_S)
        raise Unavailable(_HASH_TRIES * _HASH_AGAIN_S)

    def _go_on(self) -> None:
        """Raises `Unavailable` once the service stops."""
        if self._services.bulk_jobs.ending:
            raise Unavailable(1, "The service stops; send the rest again.")

    async def _carry_out(self) -> None:
        """Have what has been gathered written, behind the batch before it; the next lines are read meanwhile."""
        view, services = self._view, self._services
        if not self._batch and not self._unfit:
            return
        await self._settle()
        self._go_on()
        # Rights may end while the lines come; an import takes as long as it takes.
        if not await services.authenticator.confirm(view.principal):
            raise Forbidden("This account is no administrator any more.")
        work = bulk_import.import_batch(
            services.store,
            services.clock,
            view.by,
            view.caller.id,
            self._batch,
            self._on_conflict,
            self._name,
        )
        # Not `view.write`: nobody waits for it here. Whoever is cancelled waits for it on the way out.
        self._writing = services.tasks.start(work, "import users"), self._unfit, self._last
        self._batch, self._unfit = [], []

    async def _settle(self) -> None:
        """Wait for the batch that is being written, and count it; harmless when there is none. When cancelled, call it again."""
        if self._writing is None:
            return
        task, unfit, last = self._writing
        try:
            batch = await asyncio.shield(task)
        finally:
            if task.done():
                self._writing = None
        total = self._total
        total.created += batch.created
        total.updated += batch.updated
        if batch.updated:
            self._services.mail_worker.ring()  # owners of changed accounts are notified
        total.skipped += batch.skipped
        total.position = batch.position
        for number, error in sorted([*unfit, *batch.refused], key=lambda refused: refused[0]):
            self._tell(number, error)
        self._done = last

    def _tell(self, number: int, error: Exception) -> None:
        self._refused += 1
        if len(self._told) >= _MOST_TOLD or self._told_bytes >= _MOST_TOLD_BYTES:
            return
        refusal = ImportRefusal(
            line=number,
            type=f"/problems/{kind_of(error).slug}",
            detail=str(error),
            errors=field_problems(error),
        )
        told = refusal.model_dump_json().encode()
        self._told.append(told)
        self._told_bytes += len(told)

    @property
    def progress(self) -> ImportProgress:
        total = self._total
        return ImportProgress(
            lines=self._done,
            created=total.created,
            updated=total.updated,
            skipped=total.skipped,
            refused=self._refused,
            position=str(total.position),
        )

    def report(self) -> bytes:
        """The summary, and a line for each refusal that was kept."""
        summary = ImportSummary(**self.progress.model_dump(), omitted=self._refused - len(self._told))
        return b"".join(line + b"\n" for line in (summary.model_dump_json().encode(), *self._told))


def _parse(numbered: Numbered) -> Any:
    """The JSON value of a line; raises `HttpProblem`."""
    if numbered.text is None:
        raise HttpProblem(problems.TOO_LARGE, "The line is longer than a body may be.")
    try:
        return parse_json(numbered.text)
    except Malformed as error:
        raise HttpProblem(problems.MALFORMED_JSON, str(error).replace("The body", "The line", 1)) from None


def _read(numbered: Numbered, value: Any) -> tuple[ImportLine, str | None]:
    """A line, and its password in clear; raises `Invalid`."""
    try:
        user = UserImport.model_validate(value)
    except ValidationError as error:
        raise Invalid(*field_errors(error)) from None
    return user.line(numbered.number), user.password
