"""`roster.users`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal, Unpack

from roster_client.api.pages import quote_segment
from roster_client.errors import Incomplete, NotFound, VersionMismatch
from roster_client.http import ApiClient, Response
from roster_client.models import Role, User, UserChanges

Sort = Literal["created_at", "-created_at", "username", "-username"]

CHANGE_ATTEMPTS: Final = 10


class AsyncUsers:
    """Accounts. Administrators see all of them, members their own."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    async def list(
        self,
        *,
        q: str | None = None,
        role: Role | None = None,
        active: bool | None = None,
        sort: Sort | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[User]:
        """Every user that matches; pages are requested as needed.

        Args:
            q: text in username, e-mail address or name.
            sort: the order; `-` reverses it; None for `created_at`.
            page_size: users in a request; None for the service's default.
        """
        params = {
            "q": q,
            "role": role,
            "active": None if active is None else str(active).lower(),
            "sort": sort,
            "limit": page_size,
        }
        cursor: str | None = None
        while True:
            response = await self._http.request("GET", "/v1/users", params={**params, "cursor": cursor})
            epoch = response.headers.get("Roster-Position", "").rpartition("-")[0]
            page = response.json()
            for item in page["items"]:
                yield User.from_json(item, etag=f'"{epoch}-{item["version"]}"' if epoch else None)
            cursor = page["next"]
            if cursor is None:
                return

    async def get(self, id: str) -> User:
        """Raises `NotFound` also for a user that this account may not see."""
        return read_user(await self._http.request("GET", path_of(id)))

    async def create(
        self,
        username: str,
        email: str,
        *,
        name: str = "",
        age: int | None = None,
        role: Role = "member",
        active: bool = True,
        password: str | None = None,
    ) -> User:
        """Create a user. It is repeated safely after a broken connection: it carries an `Idempotency-Key`.

        Without a password the user cannot log in before resetting it by mail. Raises `AlreadyExists` and `InvalidFields`.
        """
        body: dict[str, Any] = {
            "username": username,
            "email": email,
            "name": name,
            "age": age,
            "role": role,
            "active": active,
        }
        if password is not None:
            body["password"] = password
        return read_user(await self._http.request("POST", "/v1/users", json=body, idempotency_key=True))

    async def update(self, user: User | str, **changes: Unpack[UserChanges]) -> User:
        """Change some fields, and return the user after the change.

        A `User` is changed only if it is still as it was read; else `VersionMismatch` is raised, with the user as it is now in
        `current`. An id is changed in any case.
        """
        etag = user.etag if isinstance(user, User) else None
        id = user.id if isinstance(user, User) else user
        headers = {"Content-Type": "application/merge-patch+json", **({"If-Match": etag} if etag else {})}
        try:
            return read_user(await self._http.request("PATCH", path_of(id), json=changes, headers=headers))
        except VersionMismatch as mismatch:
            mismatch.current = await self.get(id)
            raise

    async def change(self, id: str, choose: Callable[[User], UserChanges]) -> User:
        """Read a user, change it, and begin again if it changed in between; ten times at most.

        If a response was lost, it is unknown whether the change was made. Then `VersionMismatch` with `maybe_applied` is raised,
        because a second change might count twice.
        """
        user = await self.get(id)
        attempt = 1
        while True:
            try:
                return await self.update(user, **choose(user))
            except VersionMismatch as mismatch:
                if mismatch.maybe_applied or attempt == CHANGE_ATTEMPTS:
                    raise
                user = mismatch.current
            attempt += 1

    async def replace(
        self,
        id: str,
        username: str,
        email: str,
        *,
        name: str = "",
        age: int | None = None,
        role: Role = "member",
        active: bool = True,
        etag: str | None = None,
    ) -> User:
        """Replace all fields of a user. With an `etag` only if the user still has it; else raises `VersionMismatch`."""
        body = {"username": username, "email": email, "name": name, "age": age, "role": role, "active": active}
        headers = {"If-Match": etag} if etag else None
        return read_user(await self._http.request("PUT", path_of(id), json=body, headers=headers))

    async def delete(self, user: User | str) -> None:
        """Delete a user: a `User` only if it is still as it was read, an id in any case. Raises `NotFound`."""
        etag = user.etag if isinstance(user, User) else None
        id = user.id if isinstance(user, User) else user
        try:
            await self._http.request("DELETE", path_of(id), headers={"If-Match": etag} if etag else None)
        except NotFound as missing:
            if not missing.maybe_applied:
                raise

    async def remove_totp(self, id: str) -> None:
        """Remove the second factor of a user, for administrators. It ends all sessions of the user."""
        await self._http.request("DELETE", path_of(id) + "/totp")


def path_of(id: str) -> str:
    """The path of a user."""
    return "/v1/users/" + quote_segment(id)


def read_user(response: Response) -> User:
    """The user of a response, with its ETag."""
    etag = response.headers.get("ETag")
    if etag is None:
        raise Incomplete("The response has no ETag.")
    return User.from_json(response.json(), etag=etag)
