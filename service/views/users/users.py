"""User accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import hdrs, web

from service.domain.errors import Forbidden, NotFound
from service.domain.events.position import Position
from service.domain.idempotency.claims import StoredResponse
from service.domain.ports import Snapshot, TransactionRunner, Written
from service.domain.users import accounts
from service.domain.users.accounts import Change, NewUser
from service.domain.users.query import UserQuery
from service.domain.users.user import User
from service.http import problems
from service.http.idempotency import read_key, render_stored, run_once
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.path_ids import id_in_path
from service.http.preconditions import accepted_versions, excluded_versions, not_modified
from service.http.view import PRIVATE, View, json_response
from service.schemas.users import (
    UserAnswer,
    UserCreate,
    UserFilter,
    UserList,
    UserPatch,
    UserReplace,
    user_json,
    users_json,
)
from service.views.auth.reauth import ReauthView

_TAG = "users"
VERSIONED = ("ETag", "Roster-Position")

CHANGE_REFUSALS = (
    problems.FORBIDDEN,
    problems.NOT_FOUND,
    problems.ALREADY_EXISTS,
    problems.LAST_ADMIN,
    problems.PRECONDITION_FAILED,
)


class UsersView(View):
    @operation(
        Operation(
            id="list_users",
            summary="List users",
            description=(
                "For administrators. Keep the `Roster-Position` of the first page and open the feed `after` it: with "
                "the pages and the events whose `id` is above the `version` you hold, nothing is missed or seen twice."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="users:read",
            query=UserFilter,
            replies={200: Reply("A page of users.", UserList, headers=("Link", "Roster-Position"))},
            refusals=(problems.FORBIDDEN,),
        )
    )
    async def get(self) -> web.Response:
        self._for_admins()
        wanted = self.query(UserFilter)
        services = self.services
        filters = wanted.model_dump(exclude={"cursor", "limit"}, exclude_none=True)
        page = await services.store.users.list_page(
            UserQuery(
                limit=wanted.limit + 1,  # one more tells whether there is another page
                sort=wanted.sort,
                after=None if wanted.cursor is None else services.cursors.read(wanted.cursor, filters),
                q=wanted.q,
                role=wanted.role,
                active=None if wanted.active is None else wanted.active == "true",
            )
        )
        items = page.value[: wanted.limit]
        following = services.cursors.write(items[-1], filters) if len(page.value) > wanted.limit else None
        headers = {**PRIVATE, "Roster-Position": str(page.position)}
        if following is not None:
            query = urlencode({**filters, "limit": wanted.limit, "cursor": following})
            headers[hdrs.LINK] = f'</v1/users?{query}>; rel="next"'
        return json_response(users_json(items, following), headers=headers)

    @operation(
        Operation(
            id="create_user",
            summary="Create a user",
            description=(
                "For administrators. Without a password the account cannot log in. With an `Idempotency-Key` it can be sent "
                "again until it is answered, and makes one account."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            body=UserCreate,
            body_examples={
                "member": {
                    "username": "grace",
                    "email": "grace@example.com",
                    "name": "Grace Hopper",
                    "password": "correct horse battery staple",
                }
            },
            headers=("Idempotency-Key",),
            replies={
                201: Reply(
                    "The user that was made.", UserAnswer, headers=("Location", *VERSIONED, "Idempotent-Replayed")
                )
            },
            refusals=(problems.FORBIDDEN, problems.ALREADY_EXISTS),
        )
    )
    async def post(self) -> web.Response:
        self._for_admins()
        key = read_key(self.request)
        new = NewUser(**(await self.body(UserCreate)).model_dump())
        services = self.services

        def create(store: TransactionRunner) -> Coroutine[Any, Any, Snapshot[User]]:
            return accounts.create(store, self.hasher, services.clock, self.by, new, self.caller.id)

        if key is None:
            return created(await self.write(create(services.store), "create user"))
        return await run_once(self, key, create, _answer, "create user")

    def _for_admins(self) -> None:
        if not self.caller.is_admin:
            raise Forbidden("Only administrators may list and create users; /v1/users/me is yours.")


class UserView(ReauthView):
    @operation(
        Operation(
            id="get_user",
            summary="Read a user",
            description="Members read themselves; another's id answers 404, like one that does not exist.",
            tag=_TAG,
            access=Access.BEARER,
            scope="users:read",
            headers=("If-None-Match",),
            replies={
                200: Reply("The user.", UserAnswer, headers=VERSIONED),
                304: Reply("The caller's copy is still true.", headers=VERSIONED),
            },
            refusals=(problems.BAD_REQUEST, problems.NOT_FOUND),
        )
    )
    def get(self) -> Awaitable[web.Response]:
        return read(self, id_in_path(self.request))

    @operation(
        Operation(
            id="replace_user",
            summary="Replace a user",
            description=(
                "`name` and `age` that are left out are emptied; `role` and `active` stay as they are. A member may repeat "
                "but not change these two. A change of your own e-mail address needs `current_password`, and `otp` if you have "
                "a second factor; where addresses are proven (`ROSTER_REGISTRATION=verify`) members use "
                "`POST /v1/auth/address` instead."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            body=UserReplace,
            body_examples={"profile": {"username": "ada", "email": "ada@example.com", "name": "Ada King", "age": 36}},
            headers=("If-Match", "If-None-Match"),
            replies={200: Reply("The user as it is now.", UserAnswer, headers=VERSIONED)},
            refusals=CHANGE_REFUSALS,
        )
    )
    async def put(self) -> web.Response:
        body = await self.body(UserReplace)
        return await change(self, id_in_path(self.request), body)

    @operation(
        Operation(
            id="update_user",
            summary="Change a user",
            description=(
                "A JSON merge patch: what is left out stays. A patch that changes nothing writes nothing. A member may "
                "repeat but not change `role` and `active`. A change of your own e-mail address needs `current_password`, and `otp` "
                "where you have a second factor; where addresses are proven (`ROSTER_REGISTRATION=verify`) members use "
                "`POST /v1/auth/address` instead."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            body=UserPatch,
            body_types=("application/merge-patch+json", "application/json"),
            body_examples={"rename": {"name": "Ada King"}, "forget the age": {"age": None}},
            headers=("If-Match", "If-None-Match"),
            replies={200: Reply("The user as it is now.", UserAnswer, headers=VERSIONED)},
            refusals=CHANGE_REFUSALS,
        )
    )
    async def patch(self) -> web.Response:
        body = await self.body(UserPatch, "application/merge-patch+json", "application/json")
        return await change(self, id_in_path(self.request), body)

    @operation(
        Operation(
            id="delete_user",
            summary="Delete a user",
            description="Ends its sessions and streams; earlier events about it keep no copy of it.",
            tag=_TAG,
            access=Access.BEARER,
            scope="users:write",
            writes=True,
            headers=("If-Match", "If-None-Match"),
            replies={204: Reply("It is gone.", headers=("Roster-Position",))},
            refusals=(problems.BAD_REQUEST, problems.NOT_FOUND, problems.LAST_ADMIN, problems.PRECONDITION_FAILED),
        )
    )
    async def delete(self) -> web.Response:
        return await delete(self, id_in_path(self.request))


async def read(view: View, user_id: UUID) -> web.Response:
    """The response to a request that reads a user."""
    request = view.request
    user, position = await view.services.store.users.find(user_id)
    if user is None or not view.principal.caller.can_view(user_id):
        raise NotFound()
    headers = _headers(user, position)
    if hdrs.IF_NONE_MATCH in request.headers and not_modified(request, headers[hdrs.ETAG]):
        return web.Response(status=304, headers=headers)
    return web.Response(body=view.services.user_json.encode(user), content_type="application/json", headers=headers)


async def change(view: ReauthView, user_id: UUID, body: UserReplace | UserPatch) -> web.Response:
    """Change a user as requested, and return the user as response."""
    services = view.services
    versions, excluded = await _conditions(view, user_id)
    # What is left out is None.
    wanted = Change(
        body.fields(),
        body.current_password,
        versions,
        body.otp,
        proven_addresses=services.settings.registration == "verify",
        excluded=excluded,
    )
    hasher = view.hasher

    def work() -> Coroutine[Any, Any, Snapshot[User]]:
        return accounts.change(services.store, hasher, services.clock, view.by, view.caller, user_id, wanted)

    if wanted.current_password is None:
        changed = await view.write(work(), "change user")
    else:
        # A password that comes with the change of a name is not looked at.
        changed = await view.throttled(work, "change user", proves=False)
    if "email" in wanted.fields:
        services.mail_worker.wake()
    return json_response(user_json(changed.value), headers=_headers(changed.value, changed.position))


async def delete(view: View, user_id: UUID) -> web.Response:
    """Delete a user, and return 204."""
    services = view.services
    conditions = await _conditions(view, user_id)
    deletion = accounts.delete(services.store, services.clock, view.by, view.caller, user_id, *conditions)
    gone = await view.write(deletion, "delete user")
    return web.Response(status=204, headers={"Roster-Position": str(gone.position)})


async def _conditions(view: View, user_id: UUID) -> tuple[frozenset[int] | None, frozenset[int]]:
    """The versions that `If-Match` accepts, with None for any version, and those that `If-None-Match` rejects."""
    request = view.request
    if hdrs.IF_MATCH not in request.headers and hdrs.IF_NONE_MATCH not in request.headers:
        return None, frozenset()
    # RFC 9110, 13.2.1: a precondition is not looked at where the answer without it would be a refusal.
    found = await view.services.store.users.find(user_id)
    if found.value is None or not view.caller.can_view(user_id):
        raise NotFound()
    epoch = found.position.epoch
    return accepted_versions(request, epoch), excluded_versions(request, epoch)


def created(made: Snapshot[User]) -> web.Response:
    """The response to a request that created a user."""
    return render_stored(_answer_of(made))


def _answer(written: Written[User]) -> StoredResponse:
    return _answer_of(accounts.as_committed(written))


def _answer_of(made: Snapshot[User]) -> StoredResponse:
    user = made.value
    headers = {**_headers(user, made.position), hdrs.LOCATION: f"/v1/users/{user.id}"}
    return StoredResponse(201, headers, user_json(user), user.id)


def _headers(user: User, position: Position) -> dict[str, str]:
    """The headers of a response that shows a user."""
    epoch, seq = position
    return {
        **PRIVATE,
        hdrs.ETAG: f'"{epoch}-{user.version}"',
        "Roster-Position": f"{epoch}-{seq}",
    }
