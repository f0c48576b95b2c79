"""The users of SQL stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from service.domain.errors import AlreadyExists
from service.domain.events.position import Position
from service.domain.ports import Snapshot
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User
from service.store.sql.errors import Duplicate, Postponed
from service.store.sql.row_locks import RowLocks, lock_rows
from service.store.sql.row_mapper import Row
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.user_statements import (
    ALL_USERS,
    DELETE_USER,
    LOCK_ACTIVE_ADMINS,
    LOCK_USER,
    LOCK_USERS_BY_IDENTITY,
    OTHERS_WITH_NAMES,
    SAVE_USER,
    SET_PASSWORD,
    USER,
    USER_BY_LOGIN,
    USER_WITH_POSITION,
    read_credentials,
    select_page,
    user_row,
)

_MOST_KNOWN: Final = 10_000


class SqlUserReads:
    """The users, as they were last committed. Each read is one statement, which sees one state."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._dialect = database.dialect
        self._known: dict[int, tuple[Row, User]] = {}

    async def find(self, user_id: UUID) -> Snapshot[User | None]:
        (row,) = await self._database.find(USER_WITH_POSITION, id=user_id)
        user = None if row[2] is None else self._user_of(user_id, row[2:])
        return Snapshot(user, Position(row[0], row[1]))

    def _user_of(self, user_id: UUID, row: Row) -> User:
        """The user in a row; while the row is the same it is the same object, whose JSON is cached."""
        known = self._known.get(user_id.int)
        if known is not None and known[0] == row:
            return known[1]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        user = USER.from_row(row, self._dialect)
        self._known[user_id.int] = (row, user)
        return user

    async def find_by_login(self, login: str) -> Credentials | None:
        if "\0" in login:
            return None  # no text with NUL is stored, and PostgreSQL refuses to search for it
        found = await self._database.find(USER_BY_LOGIN, login=login)
        return read_credentials(found[0], self._dialect) if found else None

    async def list_page(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        statement, given = select_page(query)
        # A filter that few users match walks through all of them.
        find = self._database.search if query.has_filter else self._database.find
        found = await find(statement, **given)
        users = [USER.from_row(row, self._dialect, 2) for row in found if row[2] is not None]
        return Snapshot(users, Position(found[0][0], found[0][1]))

    @asynccontextmanager
    async def stream_all(self) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[User]]]]:
        async with self._database.stream(ALL_USERS) as (pages, position):

            async def pages_of_users() -> AsyncIterator[Sequence[User]]:
                async for page in pages:
                    yield [USER.from_row(row, self._dialect) for row in page]

            yield Snapshot(pages_of_users(), position)


class SqlUserWrites:
    """The users of a transaction.

    Args:
        changed: users that earlier writes of the same batch have changed; their versions are not known yet.
        locks: of this transaction.
    """

    __slots__ = ("_changed", "_connection", "_locks")

    def __init__(self, connection: StatementRunner, changed: Set[UUID], locks: RowLocks) -> None:
        self._connection = connection
        self._changed = changed
        self._locks = locks

    async def find(self, user_id: UUID) -> User | None:
        found = await self.find_credentials(user_id)
        return None if found is None else found.user

    async def find_credentials(self, user_id: UUID) -> Credentials | None:
        if user_id in self._changed:
            raise Postponed()
        found = await lock_rows(self._connection, self._locks, LOCK_USER, id=user_id)
        return read_credentials(found[0], self._connection.dialect) if found else None

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        found = await lock_rows(
            self._connection,
            self._locks,
            LOCK_USERS_BY_IDENTITY,
            ids=list(ids),
            usernames=list(usernames),
            emails=list(emails),
        )
        owners = [read_credentials(row, self._connection.dialect) for row in found]
        if any(owner.user.id in self._changed for owner in owners):
            raise Postponed()
        return owners

    async def count_active_admins(self) -> int:
        return len(await lock_rows(self._connection, self._locks, LOCK_ACTIVE_ADMINS))

    async def save(self, user: User) -> None:
        if self._connection.looks_first:
            await refuse_taken(self._connection, user)
        try:
            await self._connection.run(SAVE_USER, **user_row(user))
        except Exception as error:
            field = self._connection.taken_field(error)
            if field is None:
                raise
            raise Duplicate(user, field) from None

    async def save_many(self, users: Sequence[User]) -> None:
        await self._connection.run_many(SAVE_USER, [user_row(user) for user in users])

    async def set_password(self, user_id: UUID, password_hash: str) -> None:
        await self._connection.run(SET_PASSWORD, user=user_id, hash=password_hash)

    async def set_passwords(self, hashes: Mapping[UUID, str]) -> None:
        given = [{"user": user_id, "hash": password_hash} for user_id, password_hash in hashes.items()]
        await self._connection.run_many(SET_PASSWORD, given)

    async def delete(self, user_id: UUID) -> None:
        await self._connection.run(DELETE_USER, id=user_id)


async def refuse_taken(connection: StatementRunner, user: User) -> None:
    """Raises `AlreadyExists` where others have a name of this user."""
    others = await connection.rows(OTHERS_WITH_NAMES, username=user.username, email=user.email, id=user.id)
    if others:
        fields = {"username": user.username, "email": user.email}
        taken = [name for place, name in enumerate(fields) if any(other[place] == fields[name] for other in others)]
        raise AlreadyExists(*taken)
