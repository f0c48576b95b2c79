"""The sessions of SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, select

from service.domain.auth.sessions import Origin, Session
from service.domain.users.user import User
from service.store.sql.builders import delete_expired, fixed, upsert
from service.store.sql.row_locks import RowLocks, lock_rows
from service.store.sql.row_mapper import RowMapper
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import sessions, users
from service.store.sql.user_statements import LOCK_USER_ID, USER

SESSION: Final = RowMapper(Session, sessions, nested={"origin": Origin})

USER_OF_SESSION: Final = fixed(select(sessions.c.user_id).where(sessions.c.id == bindparam("id")))
SESSION_BY_ID: Final = fixed(select(*SESSION.columns).where(sessions.c.id == bindparam("id")))
SESSION_WITH_USER: Final = fixed(
    select(*SESSION.columns, *USER.columns)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == bindparam("id"))
)
SESSIONS_OF_USER: Final = fixed(
    select(*SESSION.columns)
    .where(sessions.c.user_id == bindparam("user"))
    .order_by(sessions.c.created_at, sessions.c.id)
)
SAVE_SESSION: Final = upsert(sessions)
DELETE_SESSION: Final = fixed(delete(sessions).where(sessions.c.id == bindparam("id")))
DELETE_EXPIRED_SESSIONS: Final = delete_expired(sessions)


class SqlSessionReads:
    """The sessions that have not expired."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._dialect = database.dialect

    async def find_with_user(self, session_id: UUID) -> tuple[Session, User] | None:
        found = await self._database.find(SESSION_WITH_USER, id=session_id)
        if not found:
            return None
        session = SESSION.from_row(found[0], self._dialect)
        if session.expires_at <= self._database.now():
            return None
        return session, USER.from_row(found[0], self._dialect, len(SESSION.columns))

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        found = await self._database.find(SESSIONS_OF_USER, user=user_id)
        now = self._database.now()
        sessions = [SESSION.from_row(row, self._dialect) for row in found]
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
            owner = await self._connection.rows(USER_OF_SESSION, id=session_id)
            if not owner:
                return None
            await lock_rows(self._connection, self._locks, LOCK_USER_ID, id=owner[0][0])
        found = await self._connection.rows(SESSION_BY_ID, id=session_id)
        return SESSION.from_row(found[0], self._connection.dialect) if found else None

    async def list_of_user(self, user_id: UUID) -> Sequence[Session]:
        found = await self._connection.rows(SESSIONS_OF_USER, user=user_id)
        return [SESSION.from_row(row, self._connection.dialect) for row in found]

    async def save(self, session: Session) -> None:
        if session.generation == 1:
            await self._connection.run(DELETE_EXPIRED_SESSIONS, now=session.created_at)
        await self._connection.run(SAVE_SESSION, **SESSION.to_row(session))

    async def delete(self, session_id: UUID) -> None:
        await self._connection.run(DELETE_SESSION, id=session_id)
