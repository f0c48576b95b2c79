"""A copy of all users in memory, which follows the feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from roster_client.feed import Reset, read_feed
from roster_client.http import ApiClient
from roster_client.models import Event, User
from roster_client.positions import MemoryPosition

_PAGE: Final = 100
_MOST_WAITING: Final = 1_000
_TYPES: Final = "user.created,user.deleted,user.updated"


@dataclass(frozen=True, slots=True)
class Change:
    """One user before and after a change; `before` is None for a new user, `after` for a deleted one."""

    before: User | None
    after: User | None


class AsyncMirror(Mapping[str, User]):
    """The users that the account may see, by id. Use it with `async with`; it is complete from the beginning of the block.

    It lists all users and then follows the feed after the position of the list. An event changes a user only if its number is
    above the version that the mirror holds. After a `Reset` it lists again.
    """

    def __init__(self, http: ApiClient) -> None:
        self._http = http
        self._users: dict[str, User] = {}
        self._by_email: dict[str, str] = {}
        self._by_username: dict[str, str] = {}
        self._followers: set[asyncio.Queue[Change | BaseException]] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        position = await self._load()
        self._task = asyncio.create_task(self._follow(position), name="roster mirror")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __getitem__(self, id: str) -> User:
        return self._users[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def __len__(self) -> int:
        return len(self._users)

    def by_email(self, email: str) -> User:
        """The user with this e-mail address. Raises KeyError."""
        return self._users[self._by_email[email]]

    def by_username(self, username: str) -> User:
        """The user with this username. Raises KeyError."""
        return self._users[self._by_username[username]]

    async def changes(self) -> AsyncIterator[Change]:
        """Every change from now on, also those that a new list after a `Reset` shows.

        The mirror waits for a reader that has a thousand changes before it. Raises `HttpProblem` where the feed cannot continue, such as
        for credentials that are refused.
        """
        queue: asyncio.Queue[Change | BaseException] = asyncio.Queue(_MOST_WAITING)
        if self._task is not None and self._task.done():
            self._task.result()
        self._followers.add(queue)
        try:
            while True:
                change = await queue.get()
                if isinstance(change, BaseException):
                    raise change
                yield change
        finally:
            self._followers.discard(queue)

    async def _follow(self, position: str) -> None:
        try:
            while True:
                async with aclosing(read_feed(self._http, MemoryPosition(position), _TYPES, None)) as feed:
                    async for item in feed:
                        if isinstance(item, Reset):
                            position = await self._load()
                            break
                        await self._apply(item)
        except Exception as error:
            await self._publish(error)
            raise

    async def _apply(self, event: Event) -> None:
        before = self._users.get(event.subject)
        if before is not None and event.seq <= before.version:
            return
        # An event about a user that was deleted later has no user; the deletion follows.
        after = None if event.type == "user.deleted" else event.user
        if before is not None or after is not None:
            self._replace(before, after)
            await self._publish(Change(before, after))

    async def _load(self) -> str:
        """List all users; the position of the list, after which the feed continues."""
        users: dict[str, User] = {}
        position, cursor = "", None
        while True:
            response = await self._http.request("GET", "/v1/users", params={"limit": _PAGE, "cursor": cursor})
            position = position or response.headers["Roster-Position"]
            page: dict[str, Any] = response.json()
            users |= {item["id"]: User.from_json(item) for item in page["items"]}
            cursor = page["next"]
            if cursor is None:
                break
        for id in self._users.keys() | users.keys():
            before, after = self._users.get(id), users.get(id)
            if before != after:
                self._replace(before, after)
                await self._publish(Change(before, after))
        return position

    def _replace(self, before: User | None, after: User | None) -> None:
        if before is not None:
            del self._users[before.id]
            _forget(self._by_email, before.email, before.id)
            _forget(self._by_username, before.username, before.id)
        if after is not None:
            self._users[after.id] = after
            self._by_email[after.email] = after.id
            self._by_username[after.username] = after.id

    async def _publish(self, change: Change | BaseException) -> None:
        for queue in list(self._followers):
            await queue.put(change)


def _forget(index: dict[str, str], name: str, id: str) -> None:
    # Another user may have taken the name in the same list.
    if index.get(name) == id:
        del index[name]
