"""The store in a SQLite file: one process, no server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, cast
from uuid import UUID

from service.domain.errors import Unavailable
from service.domain.ports import Clock, EventPage, EventQuery, Snapshot, Transaction, UserQuery, Written
from service.domain.positions import Position, new_epoch
from service.domain.sessions import Session
from service.domain.users import Credentials, User
from service.store.sql import queries, rows, statements
from service.store.sql.dialects import SQLITE
from service.store.sql.sqlite_connection import SqliteConnection
from service.store.sql.tables import metadata
from service.store.sql.transaction import SqlTransaction
from service.store.sql.writer import Writer, kept

T = TypeVar("T")

_LOOK_AGAIN_S: Final = 0.05


class SqliteStore:
    """Keeps the promises of `Store` in a file.

    Short reads run on the loop: they take less than handing them to a thread. Writes belong to one thread; readers never
    wait for it (WAL).

    Args:
        keep_s: events younger than this are kept however many there are; 0 for by count alone.
        full: whether a commit waits for the disk.
        wait_s: how long to wait for another process to leave the file.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        keep_events: int = 100_000,
        keep_s: float = 0,
        full: bool = True,
        wait_s: float = 30,
    ) -> None:
        self._path = path
        self._clock = clock
        self._kept = kept(keep_events, keep_s, clock)
        self._full = full
        self._wait_s = wait_s
        self._rings: list[Callable[[], None]] = []
        self._owner: int | None = None

    async def open(self) -> None:
        """Take the file, waiting for its present owner to leave. Raises `Unavailable` when that does not."""
        self._owner = await _own(self._path, self._wait_s)
        # Nobody else reads the hashes of passwords; what SQLite puts beside the file takes after it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._write_connection = SqliteConnection(self._path, writes=True, full=self._full)
        _make(self._write_connection)
        self._reader = SqliteConnection(self._path, writes=False)
        self._writer = Writer(self._write_connection, self._kept, self._ring)

    async def close(self) -> None:
        if self._owner is None:
            return
        await self._writer.close()
        self._reader.close()
        self._write_connection.close()
        os.close(self._owner)
        self._owner = None

    def _ring(self) -> None:
        for ring in self._rings:
            ring()

    async def healthy(self) -> bool:
        try:
            self._reader.find(statements.POSITION)
        except Exception:
            return False
        return True

    async def secret(self, name: str) -> str:
        async def work(transaction: SqlTransaction) -> str:
            # Who comes first makes it; everybody reads what is there then.
            await transaction.connection.run(statements.OFFER_SECRET, name=name, value=secrets.token_hex(32))
            ((value,),) = await transaction.connection.rows(statements.SECRET, name=name)
            return str(value)

        return await self._say(work)

    def on_commit(self, ring: Callable[[], None]) -> None:
        self._rings.append(ring)

    async def position(self) -> Position:
        ((epoch, seq, _),) = self._reader.find(statements.POSITION)
        return Position(epoch, seq)

    async def user(self, user_id: UUID) -> Snapshot[User | None]:
        (row,) = self._reader.find(statements.READ_USER, id=user_id)
        user = None if row[2] is None else rows.user_of(row[2:], SQLITE)
        return Snapshot(user, Position(row[0], row[1]))

    async def users(self, query: UserQuery) -> Snapshot[Sequence[User]]:
        statement, given = queries.users(query)
        find = self._reader.find
        # A search walks through all of them: not on the loop.
        found = await asyncio.to_thread(self._search, query) if query.q is not None else find(statement, **given)
        users = [rows.user_of(row[2:], SQLITE) for row in found if row[2] is not None]
        return Snapshot(users, Position(found[0][0], found[0][1]))

    def _search(self, query: UserQuery) -> list[rows.Row]:
        statement, given = queries.users(query)
        connection = SqliteConnection(self._path, writes=False)
        try:
            return connection.find(statement, **given)
        finally:
            connection.close()

    async def credentials(self, login: str) -> Credentials | None:
        found = self._reader.find(statements.USER_BY_LOGIN, login=login)
        return Credentials(rows.user_of(found[0], SQLITE), found[0][-1]) if found else None

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        found = self._reader.find(statements.SESSION_WITH_USER, id=session_id)
        if not found:
            return None
        session = rows.session_of(found[0], SQLITE)
        if session.expires_at <= self._clock():
            return None
        return session, rows.user_of(found[0][len(statements.SESSION) :], SQLITE)

    async def events(self, query: EventQuery) -> EventPage:
        # Two statements that have to see one state.
        raw = self._reader.raw
        raw.execute("BEGIN")
        try:
            (log,) = self._reader.find(statements.POSITION)
            statement, given = queries.events(query, log[1])
            found = self._reader.find(statement, **given)
        finally:
            raw.execute("COMMIT")
        return queries.page(query, log, [rows.event_of(row, SQLITE) for row in found])

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> Written[T]:
        outcome, position = await self._writer.write(work)
        if outcome.error is not None:
            raise outcome.error
        return Written(cast(T, outcome.value), outcome.events, position)

    async def keep_ticket(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._clock()

        async def work(transaction: SqlTransaction) -> None:
            await transaction.connection.run(statements.FORGET_TICKETS, now=now)
            await transaction.connection.run(
                statements.KEEP_TICKET, digest=digest, session_id=session_id, expires_at=expires_at
            )

        await self._say(work)

    async def take_ticket(self, digest: bytes, now: datetime) -> UUID | None:
        async def work(transaction: SqlTransaction) -> UUID | None:
            found = await transaction.connection.rows(statements.TAKE_TICKET, digest=digest)
            if not found or SQLITE.moment(found[0][1]) <= now:
                return None
            return SQLITE.identity(found[0][0])

        return await self._say(work)

    async def _say(self, work: Callable[[SqlTransaction], Awaitable[T]]) -> T:
        """Write what is no part of the domain."""
        return (await self.write(cast(Callable[[Transaction], Awaitable[T]], work))).value


async def _own(path: Path, wait_s: float) -> int:
    """Take the lock beside the file; the system lets go of it with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(wait_s):
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                else:
                    return descriptor
    except TimeoutError:
        os.close(descriptor)
        raise Unavailable(1, f"{path} belongs to another process, which has not left it.") from None
    except BaseException:
        os.close(descriptor)
        raise


def _make(connection: SqliteConnection) -> None:
    from sqlalchemy.schema import CreateIndex, CreateTable

    raw = connection.raw
    raw.execute("BEGIN IMMEDIATE")
    for table in metadata.sorted_tables:
        raw.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=SQLITE.sql)))
        for index in table.indexes:
            raw.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=SQLITE.sql)))
    if not connection.find(statements.POSITION):
        connection.find(statements.MAKE_LOG, epoch=new_epoch())
    raw.execute("COMMIT")
