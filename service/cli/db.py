"""`roster db …`: check, upgrade, back up, restore and copy a store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service.cli.running import run_to_end

# SQLAlchemy and Alembic are imported only where one of these commands runs.
if TYPE_CHECKING:
    from service.store.maintenance.database import Database


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add these commands to the parser."""
    parser = commands.add_parser("db", help="maintain the store that ROSTER_STORE_URL names")
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)

    upgrade = actions.add_parser("upgrade", help="create the tables, or upgrade them")
    upgrade.add_argument("revision", nargs="?", default="head", help="revision to upgrade to (default: the newest)")
    downgrade = actions.add_parser("downgrade", help="downgrade the tables to an earlier revision")
    downgrade.add_argument("revision", help="for example 0001; base removes all tables")
    downgrade.add_argument(
        "--yes", action="store_true", help="confirm that data which the earlier tables cannot hold is lost"
    )

    actions.add_parser("check", help="verify the contents; exit 0 without a fault; safe while the service runs")
    backup = actions.add_parser("backup", help="write all data into one SQLite file; safe while the service runs")
    backup.add_argument("file", type=Path)
    backup.add_argument("--force", action="store_true", help="replace an existing file")
    restore = actions.add_parser("restore", help="replace all data by that of a backup; stop the service first")
    restore.add_argument("file", type=Path)
    restore.add_argument("--yes", action="store_true", help="confirm that the present users are lost")
    actions.add_parser(
        "new-epoch",
        help="make every reader resync; needed after the restore of a disk snapshot or a VM image",
    )
    copy = actions.add_parser("copy", help="copy all data from one store to another; stop every service on both first")
    copy.add_argument("source", metavar="from", help="for example sqlite:///roster.db")
    copy.add_argument("target", metavar="to", help="for example postgresql://user:password@host/database")
    copy.add_argument("--yes", action="store_true", help="confirm that the present users are lost")


def run(chosen: argparse.Namespace) -> str | None:
    """Run the chosen command. Returns None on success, else the error message for exit code 1."""
    return run_to_end(_ACTIONS[chosen.action](chosen))


async def _upgrade(chosen: argparse.Namespace) -> None:
    from service.store.sql import migrate

    database = _database()
    # A shared database is upgraded while services run: a rolling upgrade cannot stop all of them.
    async with nullcontext() if database.is_shared else database.lock():
        await database.migrate(partial(migrate.upgrade, revision=chosen.revision))
    await _say_revision(database)


async def _downgrade(chosen: argparse.Namespace) -> str | None:
    from service.store.sql import migrate, schema

    if chosen.revision != "base" and not schema.is_known(chosen.revision):
        return f"roster: there is no revision {chosen.revision}; `roster db check` shows the present one, and base is no tables at all."
    database = _database()
    async with database.lock():
        before = await _revision(database)
        if not chosen.yes:
            return f"roster: what tables of revision {before or 'base'} hold, and those of {chosen.revision} cannot, is lost: add --yes."
        await database.migrate(partial(migrate.downgrade, revision=chosen.revision))
    await _say_revision(database)
    return None


async def _check(_: argparse.Namespace) -> str | None:
    return await _say_findings(_database())


async def _backup(chosen: argparse.Namespace) -> None:
    from service.store.maintenance import backup

    size = await backup.back_up(_database(), chosen.file, replace=chosen.force)
    _say(f"{chosen.file}: {size:,} bytes")


async def _restore(chosen: argparse.Namespace) -> str | None:
    from service.store.maintenance import backup

    database = _database()
    await backup.restore(chosen.file, database, replace=chosen.yes)
    return await _say_findings(database)


async def _copy(chosen: argparse.Namespace) -> str | None:
    from service.store.maintenance import copying, locations

    target = locations.locate_database(chosen.target)
    await copying.copy(locations.locate_database(chosen.source), target, replace=chosen.yes)
    return await _say_findings(target)


async def _new_epoch(_: argparse.Namespace) -> None:
    from service.store.maintenance.epochs import start_epoch

    database = _database()
    _say(f"{database.name}: the log goes on as {await start_epoch(database)}")


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], Coroutine[Any, Any, str | None]]]] = {
    "upgrade": _upgrade,
    "downgrade": _downgrade,
    "check": _check,
    "backup": _backup,
    "restore": _restore,
    "new-epoch": _new_epoch,
    "copy": _copy,
}


def _database() -> Database:
    """The database of the settings."""
    from service.config.load import load
    from service.store.maintenance import locations

    return locations.locate_database(load().store_url.get_secret_value())


async def _revision(database: Database) -> str | None:
    async with database.open_reader() as reader:
        return await reader.revision()


async def _say_revision(database: Database) -> None:
    _say(f"{database.name}: tables of revision {await _revision(database) or 'base'}")


async def _say_findings(database: Database) -> str | None:
    """Print the contents of the database. Returns each fault as a sentence; None without a fault."""
    from service.store.maintenance.checking import check

    found = await check(database)
    kept = f"{found.events:,} from {found.first:,} to {found.head:,}" if found.events else "none"
    _say(
        f"{database.name}\n"
        f"  tables  revision {found.revision}, {found.size:,} bytes\n"
        f"  users   {found.users:,}\n"
        f"  log     epoch {found.epoch}, head {found.head:,}\n"
        f"  events  {kept}"
    )
    return "\n".join(f"roster: {database.name}: {fault}." for fault in found.faults) or None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
