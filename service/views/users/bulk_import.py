"""Accounts in bulk, in."""

from __future__ import annotations

import contextlib
from uuid import UUID

import uuid_utils.compat
from aiohttp import web

from service.domain.errors import DomainError, Forbidden
from service.domain.users import bulk_import
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
from service.views.users.importing import Importing

_ANSWER = (
    '{"lines":3,"created":2,"updated":0,"skipped":0,"refused":1,"position":"k3f9q2xw-1044","omitted":0}\n'
    '{"line":3,"type":"/problems/already-exists","detail":"Another account already has this username.",'
    '"errors":[{"pointer":"/username","code":"already_exists","detail":"Another account has this already."}]}\n'
)


class UsersImportView(View):
    @operation(
        Operation(
            id="import_users",
            summary="Bring in many users",
            description=(
                "For administrators. The body is NDJSON, a user a line, as many as you like; it is read as it comes and "
                "written in batches of 500 lines, each whole or not at all. The answer begins behind the last line: a summary, "
                "then a line for each line that was refused. A line is about the user with its id, else about the one with its "
                "e-mail address, else about the one with its username; where there is none, it is created. A line is refused that "
                "names the id of a deleted user whose events the log still holds, or would change the caller's own e-mail address or "
                "password. An import that is cut "
                "short answers with the reason and `progress`, and what was written stays: send the same again with "
                "`on_conflict=skip`. Passwords in clear are hashed one by one, some twenty a second."
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
                    "What became of the lines: a summary, then each refusal.",
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
        wanted = self.query(ImportQuery)
        expect_ndjson(self.request)
        services = self.services
        name = uuid_utils.compat.uuid7()
        importing: Importing | None = None
        with services.bulk_jobs.one("import"):
            try:
                held = bulk_import.hold(services.store, services.clock, self.by, self.caller.id, name)
                position = await self.write(held, "hold the log")
                importing = Importing(self, wanted.on_conflict, position, name)
                try:
                    await importing.run()
                except (DomainError, HttpProblem) as reason:
                    raise ImportAborted(reason, importing.progress) from None
            finally:
                _ = services.tasks.start(self._release(name, importing), "let go of the log")
        headers = {**PRIVATE, "Roster-Position": importing.progress.position}
        return web.Response(body=importing.report(), content_type=MEDIA_TYPE, headers=headers)

    async def _release(self, name: UUID, importing: Importing | None) -> None:
        services = self.services
        told = {} if importing is None else importing.progress.model_dump(exclude={"position"})
        with contextlib.suppress(Exception):  # then it ends by itself
            await bulk_import.release(services.store, services.clock, self.by, self.caller.id, name, told)
