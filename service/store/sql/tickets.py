"""The tickets of SQL stores."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete

from service.store.sql.builders import delete_expired, fixed, upsert
from service.store.sql.runner import SqlDatabase, StatementRunner
from service.store.sql.tables import tickets

SAVE_TICKET: Final = upsert(tickets)
DELETE_EXPIRED_TICKETS: Final = delete_expired(tickets)
CONSUME_TICKET: Final = fixed(
    delete(tickets).where(tickets.c.digest == bindparam("digest")).returning(tickets.c.session_id, tickets.c.expires_at)
)


class SqlTickets:
    """Tickets, in a table, so that another process can consume them."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def create(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None:
        now = self._database.now()

        async def work(connection: StatementRunner) -> None:
            await connection.run(DELETE_EXPIRED_TICKETS, now=now)
            await connection.run(SAVE_TICKET, digest=digest, session_id=session_id, expires_at=expires_at)

        await self._database.execute(work)

    async def consume(self, digest: bytes, now: datetime) -> UUID | None:
        async def work(connection: StatementRunner) -> UUID | None:
            found = await connection.rows(CONSUME_TICKET, digest=digest)
            if not found or connection.dialect.moment(found[0][1]) <= now:
                return None
            return connection.dialect.identity(found[0][0])

        return await self._database.execute(work)
