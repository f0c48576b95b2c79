"""Bulk export of users."""

from __future__ import annotations

from functools import partial

from aiohttp import hdrs, web

from service.domain.errors import Forbidden
from service.http import problems
from service.http.ndjson import MEDIA_TYPE
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.streaming import send_export
from service.http.view import PRIVATE, View
from service.schemas.end_lines import users_end
from service.schemas.users import user_line

_LINE = (
    '{"id":"0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11","username":"ada","email":"ada@example.com","name":"Ada Lovelace",'
    '"age":36,"role":"member","active":true,"created_at":"2026-11-21T09:30:00.123456Z",'
    '"updated_at":"2026-11-21T09:30:00.123456Z","version":1042}\n'
    '{"end":true,"users":1,"position":"k3f9q2xw-1042"}\n'
)


class UsersExportView(View):
    @operation(
        Operation(
            id="export_users",
            summary="Export all users",
            description=(
                "For administrators. NDJSON, one user per line, in no particular order. All users are as they were at the "
                "`Roster-Position` of the response; open the feed `after` it to receive every later change. "
                "Each line can be imported as it is; passwords are not included. The last line is "
                '`{"end":true,"users":…,"position":…}`; an export without it is incomplete. '
                "The server disconnects a client that reads nothing for half a minute, or that needs more than an hour. "
                "The audit records the export as `users.exported`."
            ),
            tag="users",
            access=Access.BEARER,
            scope="users:read",
            replies={
                200: Reply(
                    "Every user.",
                    media_type=MEDIA_TYPE,
                    example=_LINE,
                    headers=("Roster-Position", "Content-Disposition"),
                )
            },
            refusals=(problems.FORBIDDEN,),
        )
    )
    async def get(self) -> web.StreamResponse:
        if not self.caller.is_admin:
            raise Forbidden("Only administrators may export users.")
        store, transfers = self.services.store, self.services.bulk_jobs
        headers = {
            **PRIVATE,
            hdrs.CONTENT_TYPE: MEDIA_TYPE,
            hdrs.CONTENT_DISPOSITION: 'attachment; filename="users.ndjson"',
        }
        if self.request.method == "HEAD":
            return web.StreamResponse(headers={**headers, "Roster-Position": str(await store.events.read_position())})
        with transfers.one("export"):
            async with store.users.stream_all() as (pages, position):
                response = web.StreamResponse(headers={**headers, "Roster-Position": str(position)})
                end = partial(users_end, position=position)
                await send_export(self, response, pages, user_line, end, "users.exported", "export")
        return response
