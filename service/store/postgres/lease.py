"""The lease and the lock of a process on a PostgreSQL database."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg
from sqlalchemy import Interval, bindparam, cast, delete, func, select

from service.domain.errors import Unavailable
from service.store.postgres.connection import PostgresConnection, deadline
from service.store.sql.builders import fixed
from service.store.sql.dialects import Statement
from service.store.sql.row_mapper import Row
from service.store.sql.runner import StatementRunner
from service.store.sql.tables import leases

_RECENT: Final = leases.c.renewed_at >= func.now() - cast(bindparam("after"), Interval)
LEASES: Final = fixed(select(leases.c.host, leases.c.pid, leases.c.started_at).where(_RECENT).order_by("started_at"))
RENEW_LEASE: Final = Statement(
    lambda dialect: (
        dialect.insert(leases)
        .values(
            {name: bindparam(name) for name in ("id", "host", "pid")}
            | {name: func.now() for name in ("started_at", "renewed_at")}
        )
        .on_conflict_do_update(index_elements=[leases.c.id], set_={"renewed_at": func.now()})
    )
)
END_LEASE: Final = fixed(delete(leases).where(leases.c.id == bindparam("id")))
DELETE_LOST_LEASES: Final = fixed(delete(leases).where(~_RECENT))

RENEW_EVERY_S: Final = 5.0
_EXPIRES_AFTER: Final = timedelta(seconds=3 * RENEW_EVERY_S)
_RETRY_S: Final = 0.05
_QUIET_S: Final = 2.0
_LOCK_KEY: Final = 0x526F7374  # of the advisory lock of the writing process

_TRY_LOCK: Final = "SELECT pg_try_advisory_lock($1, hashtext(current_schema))"
# A session of ours that ended for us, and of which the server does not know yet: the way to it was cut, or it is frozen.
_END_LOST: Final = """
    SELECT pg_terminate_backend(session.pid) FROM pg_stat_activity AS session JOIN pg_locks AS held USING (pid)
    WHERE held.locktype = 'advisory' AND held.granted AND session.application_name = $1
        AND session.pid <> pg_backend_pid()
"""

_HAS_LEASES: Final = "SELECT to_regclass('leases') IS NOT NULL"
# The row of a process that was killed stays for a while; its sessions end at once.
_RUNNING: Final = """
    SELECT lease.pid, lease.host FROM leases AS lease
    JOIN pg_stat_activity AS session ON session.application_name = 'roster ' || lease.id
    WHERE session.datname = current_database() ORDER BY lease.pid LIMIT 1
"""

log = logging.getLogger("roster.store")


class Lease:
    """The row that names this process, and the lock of a process that does not share the database.

    The lock excludes a second writer: it belongs to the session that writes, and ends with it. The row shows operators
    which process owns the database.

    Attributes:
        name: of this process's sessions, by which the server knows them.
    """

    def __init__(self) -> None:
        self._id = uuid4()
        self.name = f"roster {self._id}"

    async def take(self, connection: asyncpg.Connection[Any], wait_s: float) -> None:
        """Take the lock on this connection; raises `Unavailable`, with the name of the owner, if it is not released in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        is_logged = wait_s < _QUIET_S  # a moment's wait, after a connection was lost, is not worth a line
        while True:
            async with deadline(connection):
                if await connection.fetchval(_TRY_LOCK, _LOCK_KEY):
                    return
                await connection.execute(_END_LOST, self.name)
            if loop.time() >= until:
                raise Unavailable(
                    1,
                    f"The database belongs to {await _owner(connection)}, which has not left it. "
                    "Stop that one first, or give this one a database of its own.",
                )
            if not is_logged:
                is_logged = True
                wait = {"owner": await _owner(connection), "at_most_s": round(wait_s)}
                log.warning("waiting for another process to leave the database", extra=wait)
            await asyncio.sleep(_RETRY_S)

    async def renew(self, connection: StatementRunner) -> None:
        """Renew the row of this process, and delete rows that were not renewed for 15 seconds."""
        await connection.run(DELETE_LOST_LEASES, after=_EXPIRES_AFTER)
        await connection.run(RENEW_LEASE, id=self._id, host=socket.gethostname()[:255], pid=os.getpid())

    async def end(self, connection: StatementRunner) -> None:
        await connection.run(END_LEASE, id=self._id)


async def find_running(connection: asyncpg.Connection[Any]) -> str | None:
    """Name a process of the service that has a lease and a session on this database; None where there is none."""
    async with deadline(connection):
        if not await connection.fetchval(_HAS_LEASES):
            return None
        found = await connection.fetchrow(_RUNNING)
    return None if found is None else f"process {found['pid']} on {found['host']}"


async def _owner(connection: asyncpg.Connection[Any]) -> str:
    found: Sequence[Row] = ()
    with suppress(Unavailable):  # of an earlier version, which has no such table
        found = await PostgresConnection(connection).rows(LEASES, after=_EXPIRES_AFTER)
    if not found:
        return "another process"
    host, pid, started_at = found[0]
    return f"process {pid} on {host}, since {started_at.isoformat(' ', 'seconds')}"
