"""The caller's own account, without its id in the path."""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web

from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.schemas.users import UserAnswer, UserPatch
from service.views.auth.reauth import ReauthView
from service.views.users.users import (
    CHANGE_REFUSALS,
    VERSIONED,
    change,
    delete,
    read,
)

_TAG = "users"


class MeView(ReauthView):
    method_hint = "`POST /v1/auth/password` changes your own password."

    @operation(
        Operation(
            id="get_me",
            summary="Read your own account",
            description="The same as `/v1/users/{id}` with your id.",
            tag=_TAG,
            access=Access.BEARER,
            scope="profile",
            headers=("If-None-Match",),
            replies={
                200: Reply("Your account.", UserAnswer, headers=VERSIONED),
                304: Reply("Your copy is still true.", headers=VERSIONED),
            },
            refusals=(problems.BAD_REQUEST,),
        )
    )
    def get(self) -> Awaitable[web.Response]:
        return read(self, self.caller.id)

    @operation(
        Operation(
            id="update_me",
            summary="Change your own account",
            description=(
                "The same as `PATCH /v1/users/{id}` with your id. `POST /v1/auth/password` changes your password."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            body=UserPatch,
            body_types=("application/merge-patch+json", "application/json"),
            body_examples={"rename": {"name": "Ada King"}, "forget the age": {"age": None}},
            headers=("If-Match", "If-None-Match"),
            replies={200: Reply("Your account as it is now.", UserAnswer, headers=VERSIONED)},
            refusals=CHANGE_REFUSALS,
        )
    )
    async def patch(self) -> web.Response:
        body = await self.body(UserPatch, "application/merge-patch+json", "application/json")
        return await change(self, self.caller.id, body)

    @operation(
        Operation(
            id="delete_me",
            summary="Delete your own account",
            description="The same as `DELETE /v1/users/{id}` with your id: ends all your sessions, streams and tokens.",
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            headers=("If-Match", "If-None-Match"),
            replies={204: Reply("It is gone.", headers=("Roster-Position",))},
            refusals=(problems.BAD_REQUEST, problems.NOT_FOUND, problems.LAST_ADMIN, problems.PRECONDITION_FAILED),
        )
    )
    def delete(self) -> Awaitable[web.Response]:
        return delete(self, self.caller.id)
