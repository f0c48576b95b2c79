"""The users of the memory store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from service.domain.errors import AlreadyExists
from service.domain.ports import Snapshot
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.store.memory.changes import Changes
from service.store.memory.log import MemoryLog
from service.store.memory.tables import Tables, matches

_PAGE: Final = 500
_TURN: Final = 2_000  # users that a search looks at, which takes about a millisecond, before others have their turn


class MemoryUserReads:
    """The users, as they were last committed."""

    def __init__(self, tables: Tables, log: MemoryLog) -> None:
        self._tables = tables
        self._log = log

    async def find(self, user_id: UUID) -> Snapshot[User | None]:
        return Snapshot(self._tables.users.get(user_id.int), self._log.position)

    async def find_by_login(self, login: str) -> Credentials | None:
        user_id = self._tables.by_email.get(login) or self._tables.by_username.get(login)
        return None if user_id is None else self._tables.credentials(user_id)

    async def list_page(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        position = self._log.position
        if not query.has_filter:
            return Snapshot(self._tables.first(query), position)
        found: list[User] = []
        for examined, user in enumerate(self._tables.walk(query), 1):
            if matches(user, query):
                found.append(user)
                if len(found) == query.limit:
                    break
            if not examined % _TURN:
                await asyncio.sleep(0)
        return Snapshot(found, position)

    @asynccontextmanager
    async def stream_all(self) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[User]]]]:
        # Users never change, others take their place: a list of them is a snapshot.
        users = list(self._tables.users.values())

        async def pages() -> AsyncIterator[Sequence[User]]:
            for start in range(0, len(users), _PAGE):
                yield users[start : start + _PAGE]

        yield Snapshot(pages(), self._log.position)


class MemoryUserWrites:
    """The users of a transaction.

    Args:
        on_delete: what deletes the rows that belong to a user, as foreign keys do in SQL.
    """

    __slots__ = ("_changes", "_on_delete", "_tables")

    def __init__(self, changes: Changes, on_delete: Sequence[Callable[[UUID], Awaitable[None]]]) -> None:
        self._changes = changes
        self._tables = changes.tables
        self._on_delete = on_delete

    async def find(self, user_id: UUID) -> User | None:
        return self._tables.users.get(user_id.int)

    async def find_credentials(self, user_id: UUID) -> Credentials | None:
        return self._tables.credentials(user_id)

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        tables = self._tables
        found = {user_id for user_id in ids if user_id.int in tables.users}
        found.update(tables.by_username[name] for name in usernames if name in tables.by_username)
        found.update(tables.by_email[address] for address in emails if address in tables.by_email)
        return [credentials for user_id in found if (credentials := tables.credentials(user_id)) is not None]

    async def count_active_admins(self) -> int:
        return self._tables.active_admins

    async def save(self, user: User) -> None:
        tables = self._tables
        taken = [
            column
            for column, index in (("username", tables.by_username), ("email", tables.by_email))
            if index.get(getattr(user, column), user.id) != user.id
        ]
        if taken:
            raise AlreadyExists(*taken)
        self._drop(user.id)
        tables.set_user(user)
        self._changes.on_undo(lambda: tables.drop_user(user.id))

    async def save_many(self, users: Sequence[User]) -> None:
        for user in users:
            await self.save(user)

    async def set_password(self, user_id: UUID, password_hash: str) -> None:
        self._changes.set(self._tables.passwords, user_id, password_hash)

    async def set_passwords(self, hashes: Mapping[UUID, str]) -> None:
        for user_id, password_hash in hashes.items():
            self._changes.set(self._tables.passwords, user_id, password_hash)

    async def delete(self, user_id: UUID) -> None:
        self._changes.set(self._tables.passwords, user_id, None)
        for delete in self._on_delete:
            await delete(user_id)
        self._drop(user_id)

    def _drop(self, user_id: UUID) -> None:
        before = self._tables.drop_user(user_id)
        if before is not None:
            self._changes.on_undo(lambda: self._tables.set_user(before))
