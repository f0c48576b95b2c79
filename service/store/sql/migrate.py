"""Making tables, and bringing them from one revision to another: whole, or not at all."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from service.domain.errors import Unavailable
from service.store.sql import schema
from service.store.sql.tables import metadata

_BUSY_S: Final = 5.0
# The name of the lock under which tables are changed.
_MIGRATING: Final = 0x526F73746572

Step = Callable[[sa.Connection], None]

log = logging.getLogger("roster.store")


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision. Raises `Unavailable` where they are not ours, or newer than this code."""
    before = _revision(connection)
    schema.refuse(before, may_migrate=True)
    if before is None and (taken := set(sa.inspect(connection).get_table_names()) & set(metadata.tables)):
        names = ", ".join(sorted(taken))
        raise Unavailable(1, f"Roster needs tables of these names, and did not make those that are there: {names}.")
    _run(command.upgrade, connection, revision)
    if (after := _revision(connection)) != before:
        log.info("tables brought up to date", extra={"before": before, "revision": after})


def downgrade(connection: sa.Connection, revision: str) -> None:
    """Bring the tables back to a revision, `base` for none, and lose what they cannot hold. Raises `Unavailable`."""
    schema.refuse(_revision(connection), may_migrate=True)
    _run(command.downgrade, connection, revision)


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


async def in_postgres(connect: Callable[[], Awaitable[Any]], step: Step) -> None:
    """Run a step in one transaction on a connection of asyncpg's; who comes meanwhile waits. Raises `Unavailable`."""
    from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet, which comes with the extra `postgres`

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=sa.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            await connection.run_sync(step)
    except sa.exc.DBAPIError as error:
        # SQLAlchemy's own wrapper puts the name of a class before the sentence.
        cause = error.orig and error.orig.__cause__
        raise Unavailable(1, f"PostgreSQL: {cause or error.orig}") from None
    finally:
        await engine.dispose()


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run(action: Callable[[Config, str], None], connection: sa.Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
    try:
        action(config, revision)
    except CommandError as error:
        raise Unavailable(1, f"{error}.") from None
