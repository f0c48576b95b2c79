"""Bulk import of users."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from service.domain.errors import DomainError, Forbidden, Unavailable
from service.domain.users.bulk_import import BatchResult
from service.domain.users.import_session import ImportSession
from service.http import problems
from service.http.ndjson import MEDIA_TYPE, expect_ndjson
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.problems import HttpProblem, ImportAborted
from service.http.view import PRIVATE, View
from service.schemas.imports import ImportQuery, UserImport
from service.views.users.import_lines import ImportReport, progress_of, read_lines

_ANSWER = (
    '{"lines":3,"created":2,"updated":0,"skipped":0,"refused":1,"position":"k3f9q2xw-1044","omitted":0}\n'
    '{"line":3,"type":"/problems/already-exists","detail":"Another account already has this username.",'
    '"errors":[{"pointer":"/username","code":"already_exists","detail":"Another account has this already."}]}\n'
)


class UsersImportView(View):
    @operation(
        Operation(
            id="import_users",
            summary="Import users",
            description=(
                "For administrators. The body is NDJSON, one user per line, without a limit on the number of lines. The server "
                "reads it as it arrives and writes batches of 500 lines; each batch commits as a whole or not at all. The response "
                "begins after the last line: a summary, then one line for each refused line. A line is matched to a user by id, "
                "then by e-mail address, then by username; a line without a match creates a user. A line is refused if it names "
                "the id of a deleted user whose events the log still holds, or would change the caller's own e-mail address or "
                "password. If an import is aborted, the response is a problem with `progress`, and committed batches stay: send "
                "the same body again with `on_conflict=skip`. The server hashes about twenty passwords per second."
            ),
            tag="users",
            access=Access.BEARER,
            scope="users:write",
            query=ImportQuery,
            body=UserImport,
            body_types=(MEDIA_TYPE,),
            body_in_lines=True,
            body_examples={
                "one line": {"username": "grace", "email": "grace@example.com", "name": "Grace Hopper"},
            },
            replies={
                200: Reply(
                    "A summary, then one line for each refused line.",
                    media_type=MEDIA_TYPE,
                    example=_ANSWER,
                    headers=("Roster-Position",),
                )
            },
            refusals=(problems.FORBIDDEN,),
            writes=True,
        )
    )
    async def post(self) -> web.Response:
        if not self.caller.is_admin:
            raise Forbidden("Only administrators may import users.")
        on_conflict = self.query(ImportQuery).on_conflict
        expect_ndjson(self.request)
        services, report = self.services, ImportReport()
        session = ImportSession(
            services.store, services.clock, self.by, self.caller.id, on_conflict, services.hasher, _Host(self, report)
        )
        with services.bulk_jobs.one("import"):
            try:
                await self.write(session.open(), "open an import")
                try:
                    await session.run(read_lines(self.request))
                except (DomainError, HttpProblem) as reason:
                    raise ImportAborted(reason, progress_of(session)) from None
            finally:
                _ = services.tasks.start(_close(session), "close an import")
        headers = {**PRIVATE, "Roster-Position": str(session.position)}
        return web.Response(body=report.render(session), content_type=MEDIA_TYPE, headers=headers)


async def _close(session: ImportSession) -> None:
    with contextlib.suppress(Exception):  # the retention then ends at its own time
        await session.close()


class _Host:
    """Adapts the process, the request and the report for `ImportSession`."""

    def __init__(self, view: View, report: ImportReport) -> None:
        self._view = view
        self._services = view.services
        self._report = report

    def check_running(self) -> None:
        if self._services.bulk_jobs.ending:
            raise Unavailable(1, "The service is shutting down. Send the remaining lines again.")

    async def has_access(self) -> bool:
        return await self._services.authenticator.revalidate(self._view.principal)

    def start_write(self, work: Coroutine[Any, Any, BatchResult]) -> asyncio.Task[BatchResult]:
        return self._services.tasks.start(work, "import users")

    def report_refusal(self, number: int, error: Exception) -> None:
        self._report.add(number, error)

    def wake_mail_worker(self) -> None:
        self._services.mail_worker.wake()
