"""Whether the database is the one of the last run, and a new epoch where it is not.

A database that was put back by other means than `roster db restore` looks like the one that was left, but readers may have seen
events that it never had. Its identity tells the two apart, because a copy of the contents does not include it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import delete, insert, select

from service.domain.events.position import new_epoch
from service.store.sql.builders import fixed
from service.store.sql.log_statements import LOCK_LOG, POSITION, START_EPOCH
from service.store.sql.runner import StatementRunner
from service.store.sql.tables import runs

RUN: Final = fixed(select(runs.c.identity))
INSERT_RUN: Final = fixed(insert(runs))
DELETE_RUN: Final = fixed(delete(runs))

# Files in PostgreSQL keep their oids when a database is dumped to no other place; a copy by TEMPLATE keeps those of its tables.
_OF_TABLES: Final = """
    SELECT (SELECT oid FROM pg_database WHERE datname = current_database()) || ' ' || 'log'::regclass::oid
"""
# Some roles lack the privilege, and some servers that speak PostgreSQL's protocol lack the function.
_OF_SERVER: Final = (
    "SELECT system_identifier::text FROM pg_control_system()",
    "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",  # the timeline, at once after a promotion
)

log = logging.getLogger("roster.store")


async def begin_run(connection: StatementRunner, identity: str, is_known: Callable[[str | None, int], bool]) -> bool:
    """Store the identity of this run, inside a transaction; start a new epoch unless the stored one is known.

    Args:
        is_known: whether the identity that is kept, None for none, and the head are those of the last run.

    Returns whether a new epoch starts.
    """
    await connection.rows(LOCK_LOG)
    found = await connection.rows(RUN)
    ((epoch, head, _),) = await connection.rows(POSITION)
    kept = found[0][0] if found else None
    is_new = not is_known(kept, head)
    if is_new:
        started = new_epoch()
        await connection.run(START_EPOCH, epoch=epoch, new=started)
        if head:
            extra = {"was": f"{epoch}-{head}", "position": f"{started}-{head}"}
            log.warning("the database is not the one of the last run; a new epoch starts, readers resync", extra=extra)
    if kept != identity:
        await connection.run(DELETE_RUN)
        await connection.run(INSERT_RUN, identity=identity)
    return is_new


async def postgres_identity(raw: Any) -> str:
    """The identity of a PostgreSQL database, which its copies do not share: oids of database and log table, and, if the role may read
    them, system identifier and timeline."""
    import asyncpg

    parts = [await raw.fetchval(_OF_TABLES)]
    for question in _OF_SERVER:
        try:
            parts.append(await raw.fetchval(question))
        except (
            asyncpg.InsufficientPrivilegeError,
            asyncpg.UndefinedFunctionError,
            asyncpg.FeatureNotSupportedError,
            asyncpg.ObjectNotInPrerequisiteStateError,
        ):
            parts.append("-")
    return " ".join(map(str, parts))
