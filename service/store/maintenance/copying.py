"""All that a store holds, from one database to another: in one transaction there, with little of it in memory."""

from __future__ import annotations

from contextlib import aclosing

from service.domain.errors import Unavailable
from service.domain.events.position import new_epoch
from service.store.maintenance.audit import record_audit
from service.store.maintenance.database import Database, TableReader, TableWriter
from service.store.maintenance.statements import COUNT_USERS, SET_EPOCH
from service.store.maintenance.targets import refuse_target
from service.store.sql import migrate, schema
from service.store.sql.tables import metadata


async def copy(source: Database, target: Database, *, replace: bool) -> None:
    """Replace the data of the target by those of the source, and start a new epoch.

    The log continues after the source's last event, which readers of either log may not know: the new epoch shows it to them.

    Args:
        replace: whether the target may lose users that it holds.

    Raises `Unavailable`; then the target is unchanged.
    """
    refuse_target(target, source)
    async with target.lock(), source.open_reader() as reader:
        await require_current_tables(reader, source.name)
        await target.migrate(migrate.upgrade)
        async with target.open_exclusive_writer() as writer:
            ((users, _),) = await writer.rows(COUNT_USERS)
            if users and not replace:
                raise Unavailable(1, f"{target.name} holds {users:,} users, which would be lost: add --yes.")
            await copy_rows(reader, writer)
            await writer.rows(SET_EPOCH, epoch=new_epoch())
            await record_audit(writer, "data.replaced")


async def copy_rows(source: TableReader, target: TableWriter) -> None:
    """Replace all rows of the target by those of the source, except tables with `info={"copied": False}`, which stay empty."""
    tables = metadata.sorted_tables  # whatever is referred to comes first
    await target.clear(tables)
    for table in tables:
        if table.info.get("copied", True):
            async with aclosing(source.walk(table)) as found:
                async for rows in found:
                    await target.put(table, rows)


async def require_current_tables(source: TableReader, name: str) -> None:
    """Raises `Unavailable` where the tables are not those of this code."""
    found = await source.revision()
    if found is None:
        raise Unavailable(1, f"{name} holds no tables of Roster.")
    if found != schema.REVISION:
        schema.refuse(found, may_migrate=False)
