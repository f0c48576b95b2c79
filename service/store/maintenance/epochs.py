"""A new epoch by command: what a restored disk snapshot needs, which no process can recognise."""

from __future__ import annotations

from service.domain.events.position import Position, new_epoch
from service.store.maintenance.audit import record_audit
from service.store.maintenance.copying import require_current_tables
from service.store.maintenance.database import Database
from service.store.maintenance.statements import SET_EPOCH
from service.store.sql.log_statements import POSITION


async def start_epoch(database: Database) -> Position:
    """Start a new epoch and return its position; readers, also those of a running service, receive `reset` and resync.

    Raises `Unavailable`.
    """
    async with database.open_reader() as reader:
        await require_current_tables(reader, database.name)
    async with database.open_writer() as writer:
        await writer.rows(SET_EPOCH, epoch=new_epoch())
        await record_audit(writer, "epoch.started")
        ((epoch, head, _),) = await writer.rows(POSITION)
    return Position(epoch, head)
