"""Whether what a database holds is what a store may hold."""

from __future__ import annotations

from dataclasses import dataclass

from service.store.maintenance.copying import require_current_tables
from service.store.maintenance.database import Database
from service.store.maintenance.statements import COUNT_EVENTS, COUNT_USERS
from service.store.sql import schema
from service.store.sql.log_statements import POSITION


@dataclass(frozen=True, slots=True)
class Findings:
    """The contents of a database, at one moment.

    Attributes:
        first: seq of the oldest event that is kept; head + 1 when none is.
        head: seq of the last event.
        size: on the disk, in bytes.
        faults: what must not be, as sentences; empty when all is well.
    """

    revision: str
    epoch: str
    first: int
    head: int
    users: int
    events: int
    size: int
    faults: tuple[str, ...]


async def check(database: Database) -> Findings:
    """Look at all of it; a service may be running. Raises `Unavailable` where it cannot be read as a store's."""
    async with database.open_reader() as reader:
        await require_current_tables(reader, database.name)
        faults = list(await reader.damage())
        found = await reader.rows(POSITION)
        epoch, head, first = found[0] if found else ("", 0, 1)
        if not found:
            faults.append("the log has no row that counts it")
        ((events, lowest, highest),) = await reader.rows(COUNT_EVENTS)
        if events != head - first + 1 or (events and (lowest, highest) != (first, head)):
            faults.append(
                f"the log should hold every event from {first} to {head}, and holds {events} of {lowest} to {highest}"
            )
        ((users, version),) = await reader.rows(COUNT_USERS)
        if version is not None and version > head:
            faults.append(f"a user has version {version}, and the log ends at {head}")
        return Findings(schema.REVISION, epoch, first, head, users, events, await reader.size(), tuple(faults))
