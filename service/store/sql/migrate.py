"""Migrations: they create the tables and bring them from one revision to another, each time in one transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from service.domain.errors import Unavailable
from service.store.sql import schema
from service.store.sql.tables import metadata

_BUSY_S: Final = 5.0
# Statements of other sessions queue up after a DDL statement that waits for its lock. So it waits for a moment only, lets them
# pass, and is repeated.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '1s'"
_LOCK_PATIENCE_S: Final = 60.0
_LOCK_PAUSE_S: Final = 0.5
_LOCK_NOT_AVAILABLE: Final = "55P03"
# The name of the lock under which tables are changed.
_MIGRATING: Final = 0x526F73746572

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Step = Callable[[sa.Connection], None]

log = logging.getLogger("roster.store")


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision. Raises `Unavailable` where they are not ours, or newer than this code."""
    before = _read_revision(connection)
    schema.refuse(before, may_migrate=True)
    if before is None and (taken := set(sa.inspect(connection).get_table_names()) & set(metadata.tables)):
        names = ", ".join(sorted(taken))
        raise Unavailable(1, f"Roster needs tables of these names, and did not make those that are there: {names}.")
    _run_alembic(command.upgrade, connection, revision)
    if (after := _read_revision(connection)) != before:
        log.info("tables brought up to date", extra={"before": before, "revision": after})


def downgrade(connection: sa.Connection, revision: str) -> None:
    """Bring the tables back to a revision, `base` for none, and lose what they cannot hold. Raises `Unavailable`."""
    schema.refuse(_read_revision(connection), may_migrate=True)
    _run_alembic(command.downgrade, connection, revision)


def in_sqlite(path: Path, step: Step) -> None:
    """Run a step in one transaction on a file. Raises `Unavailable`."""
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            step(connection)
            if connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
                raise Unavailable(1, "Rows would name others that are not there.")
    except sa.exc.DBAPIError as error:
        raise Unavailable(1, f"{path}: {error.orig}") from None
    finally:
        engine.dispose()


def _connect(path: Path) -> sqlite3.Connection:
    # No implicit transactions: sqlite3 would begin one only after the first CREATE TABLE. No foreign keys: recreating a table,
    # which is how SQLite changes one, would drop what refers to it; they are looked at before the commit.
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)


async def in_postgres(connect: Callable[[], Awaitable[Any]], step: Step, patience_s: float = _LOCK_PATIENCE_S) -> None:
    """Run a step in one transaction on a connection of asyncpg's. Of several processes one migrates at a time.

    A statement waits for a lock for 1 s at most. Then the transaction is rolled back and repeated, so the step may run several
    times.

    Args:
        patience_s: seconds after which no further attempt begins.

    Raises `Unavailable`, with the server's words or because the locks were not released in time.
    """
    from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet, which comes with the extra `postgres`

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=sa.NullPool)
    now = asyncio.get_running_loop().time
    until = now() + patience_s
    try:
        while not await _is_done_in_time(engine, step):
            if now() >= until:
                raise Unavailable(
                    1,
                    f"PostgreSQL: other sessions have held locks on the tables for {patience_s:g} s; nothing was changed. "
                    "End their transactions, and try again.",
                )
            log.info("tables are locked by other sessions; the migration will be retried")
            await asyncio.sleep(_LOCK_PAUSE_S)
    except sa.exc.DBAPIError as error:
        # SQLAlchemy's own wrapper puts the name of a class before the sentence.
        cause = error.orig and error.orig.__cause__
        raise Unavailable(1, f"PostgreSQL: {cause or error.orig}") from None
    finally:
        await engine.dispose()


async def _is_done_in_time(engine: AsyncEngine, step: Step) -> bool:
    """Run a step; False, with nothing changed, where a lock was not available in time."""
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(_LOCK_TIMEOUT)
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            await connection.run_sync(step)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            return False
        raise
    return True


def _read_revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run_alembic(action: Callable[[Config, str], None], connection: sa.Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
    try:
        action(config, revision)
    except CommandError as error:
        raise Unavailable(1, f"{error}.") from None
