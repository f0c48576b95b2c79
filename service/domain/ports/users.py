"""Users and the hashes of their passwords."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from service.domain.ports.results import Snapshot
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User


class UserReads(Protocol):
    """The users of a store, as they were last committed."""

    async def find(self, user_id: UUID) -> Snapshot[User | None]: ...

    async def find_by_login(self, login: str) -> Credentials | None:
        """Find an account by e-mail address or username; `login` is any text."""

    async def list_page(self, query: UserQuery) -> Snapshot[Sequence[User]]: ...

    def stream_all(self) -> AbstractAsyncContextManager[Snapshot[AsyncIterator[Sequence[User]]]]:
        """Read all users in pages, as they are at one position, whatever is written meanwhile. Their order has no meaning.

        Leaving the block early releases the snapshot; cancelling is safe. Raises `Unavailable`, also for each page.
        """


class UserWrites(Protocol):
    """The users as one transaction sees and changes them."""

    async def find(self, user_id: UUID) -> User | None: ...

    async def find_credentials(self, user_id: UUID) -> Credentials | None: ...

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        """Find every account that has one of these ids, usernames or addresses, in no order and in one query."""

    async def count_active_admins(self) -> int: ...

    async def save(self, user: User) -> None:
        """Insert or replace; raises `AlreadyExists` when another user has its username or e-mail address."""

    async def save_many(self, users: Sequence[User]) -> None:
        """Insert or replace all of them in order, in few statements.

        Each user occurs once, and `find_by_identity` has shown that no other user has their names.
        """

    async def set_password(self, user_id: UUID, password_hash: str) -> None: ...

    async def set_passwords(self, hashes: Mapping[UUID, str]) -> None:
        """The same for many, by the id of the user."""

    async def delete(self, user_id: UUID) -> None:
        """Remove the user with its password; its earlier events keep no copy of it."""
