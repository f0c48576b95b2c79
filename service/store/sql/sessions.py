"""The sessions and tickets of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from service.domain.auth.sessions import Session
from service.domain.users.user import User
from service.store.sql import rows, statements
from service.store.sql.row_locks import RowLocks, lock_rows
from service.store.sql.runner import SqlDatabase, StatementRunner


class SqlSessionReads:
    """The sessions that have not expired."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._dialect = database.dialect

    async def find_with_user(self, session_id: UUID) -> tuple[Session, User] | None:
        found = await self._database.find(statements.SESSION_WITH_USER, id=session_id)
        if not found:
            return None
        session = rows.SESSION.from_row(found[0], self._dialect)
        if session.expires_at <= self._database.now():
            return None
        return session, rows.USER.from_row(found[0], self._dialect, len(rows.SESSION.columns))

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        found = await self._database.find(statements.SESSIONS_OF, user=user_id)
        now = self._database.now()
        sessions = [rows.SESSION.from_row(row, self._dialect) for row in found]
        return [session for session in sessions if session.expires_at > now]


class SqlSessionWrites:
    """The sessions of a transaction.

    A session is changed by a transaction that has locked its user: user first, then session, in every process. A user who is
    deleted, or whose password changes, takes the sessions along.

    Args:
        locks: of this transaction.
    """

    __slots__ = ("_connection", "_locks")

    def __init__(self, connection: StatementRunner, locks: RowLocks) -> None:
        self._connection = connection
        self._locks = locks

    async def find(self, session_id: UUID) -> Session | None:
        if self._connection.dialect.locks_rows:
            # Without this lock, of two processes that refresh at once one would put the generation back that the other has
            # advanced, and one that refreshes would put a session back that another has ended.
            owner = await self._connection.rows(statements.OWNER_OF_SESSION, id=session_id)
            if not owner:
                return None
            await lock_rows(self._connection, self._locks, statements.LOCK_USER_ID, id=owner[0][0])
        found = await self._connection.rows(statements.SESSION_BY_ID, id=session_id)
        return rows.SESSION.from_row(found[0], self._connection.dialect) if found else None

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        found = await self._connection.rows(statements.SESSIONS_OF, user=user_id)
        return [rows.SESSION.from_row(row, self._connection.dialect) for row in found]

    async def save(self, session: Session) -> None:
        if session.generation == 1:
            await self._connection.run(statements.FORGET_SESSIONS, now=session.created_at)
        await self._connection.run(statements.PUT_SESSION, **rows.SESSION.to_row(session))

    async def delete(self, session_id: UUID) -> None:
        await self._connection.run(statements.DELETE_SESSION, id=session_id)


class SqlTickets:
    """Tickets, in a table, so that another process can consume them."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def create(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._database.now()

        async def work(connection: StatementRunner) -> None:
            await connection.run(statements.FORGET_TICKETS, now=now)
            await connection.run(statements.KEEP_TICKET, digest=digest, session_id=session_id, expires_at=expires_at)

        await self._database.execute(work)

    async def consume(self, digest: bytes, now: datetime) -> UUID | None:
        async def work(connection: StatementRunner) -> UUID | None:
            found = await connection.rows(statements.TAKE_TICKET, digest=digest)
            if not found or connection.dialect.moment(found[0][1]) <= now:
                return None
            return connection.dialect.identity(found[0][0])

        return await self._database.execute(work)
