"""One connection to PostgreSQL, with a deadline that holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from service.domain.errors import StorageFull, Unavailable
from service.store.sql.dialects import POSTGRES, Statement
from service.store.sql.row_mapper import Row
from service.telemetry.quiet import Quiet

# After this silence a server counts as gone, so that a caller is answered within two seconds. A statement that is only slow
# is stopped before by the server itself (`STOP_MS`) and costs its own caller, not the connection: a search through two
# million users takes as long. A wait for a row lock ends before that, but after the second in which PostgreSQL
# looks for a deadlock.
SILENCE_S: Final = 1.5
STOP_MS: Final = 1_400
# How long a later statement waits for a lock: the process that holds it may wait for this transaction.
_SHORT_LOCK_MS: Final = 25

# The errors of a server that is down or unreachable, or whose data is being restored.
LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,  # what it has is broken
    asyncpg.InvalidTransactionStateError,  # a standby, or a transaction that was idle for too long
    asyncpg.ObjectNotInPrerequisiteStateError,  # a lock that was waited for too long
    asyncpg.UndefinedTableError,  # pg_restore --clean takes away what it will make
    asyncpg.FeatureNotSupportedError,  # a plan from before that
)

log = logging.getLogger("roster.store")
_quiet = Quiet()


class PostgresConnection:
    """Runs statements, each with a deadline of so many seconds; raises `Unavailable` when that is over."""

    dialect = POSTGRES

    def __init__(self, raw: asyncpg.Connection[Any], seconds: float = SILENCE_S) -> None:
        self.raw = raw
        self._seconds = seconds
        self.changes = 0
        self._has_savepoint = False

    async def revision(self) -> str | None:
        """Of which revision the tables are; None where there are none."""
        if await self.raw.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await self.raw.fetchval("SELECT version_num FROM alembic_version")
        return found

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        compiled = statement.compiled(POSTGRES)
        self.changes += not compiled.text.startswith("SELECT")
        async with deadline(self.raw, self._seconds):
            found: Sequence[Row] = await self.raw.fetch(compiled.text, *POSTGRES.values(compiled, given))
        return found

    async def run(self, statement: Statement, **given: Any) -> None:
        compiled = statement.compiled(POSTGRES)
        self.changes += 1
        async with deadline(self.raw, self._seconds):
            await self.raw.execute(compiled.text, *POSTGRES.values(compiled, given))

    async def run_many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        compiled = statement.compiled(POSTGRES)
        if statement.in_columns:
            # Sixteen rows take a fifth less than said one by one, though that is one way there and back, too; 500 a third less.
            await self.run(statement, **{name: [one[name] for one in given] for name in compiled.names})
            return
        self.changes += 1
        async with deadline(self.raw, self._seconds):
            await self.raw.executemany(compiled.text, [POSTGRES.values(compiled, one) for one in given])

    async def execute(self, text: str) -> None:
        """Run a statement without values and without result, as `BEGIN`."""
        async with deadline(self.raw, self._seconds):
            await self.raw.execute(text)

    looks_first = False  # a way to the server and back costs more than all that is done there

    def taken_field(self, error: Exception) -> str | None:
        if not isinstance(error, asyncpg.UniqueViolationError):
            return None
        constraint: str = error.constraint_name or ""
        return constraint.removeprefix("uq_users_") if constraint.startswith("uq_users_") else None

    async def savepoint(self) -> None:
        # The one before is released on the same way; the last one by the commit.
        await self.execute("RELEASE work; SAVEPOINT work" if self._has_savepoint else "SAVEPOINT work")
        self._has_savepoint = True

    async def release(self) -> None:
        pass

    async def bound_waits(self) -> None:
        await self.execute(f"SET LOCAL lock_timeout = {_SHORT_LOCK_MS}")

    async def undo(self) -> None:
        await self.execute("ROLLBACK TO work")

    @property
    def is_undone(self) -> bool:
        return self.raw.is_closed()

    def is_write_conflict(self, error: Exception) -> bool:
        return isinstance(
            error,
            (
                asyncpg.UniqueViolationError,
                asyncpg.ForeignKeyViolationError,
                asyncpg.DeadlockDetectedError,
                asyncpg.SerializationError,
            ),
        )

    def is_lock_timeout(self, error: Exception) -> bool:
        return isinstance(error, Unavailable) and isinstance(error.__cause__, asyncpg.LockNotAvailableError)


@asynccontextmanager
async def deadline(raw: asyncpg.Connection[Any], seconds: float = SILENCE_S) -> AsyncIterator[None]:
    """Close the connection when the server does not answer in time, or when the caller is cancelled.

    Raises `Unavailable` for whatever means that it is not there, `StorageFull` where it has no room.

    Not by a timeout around the call: cancelling one, asyncpg asks the server to stop and waits for it to say so, and a
    frozen server made 7 seconds of 2.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _abort_connection, raw)
    try:
        yield
    except asyncpg.DiskFullError as error:
        if _quiet.is_due(type(error).__name__):
            log.error("PostgreSQL: %s", error)
        raise StorageFull() from error
    except LOST as error:
        if isinstance(error, asyncpg.PostgresError) and _is_worth_a_line(error):
            log.warning("PostgreSQL: %s", error)
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            _abort_connection(raw)  # a session keeps the default with which it began
        raise Unavailable(1) from error
    except asyncio.CancelledError:
        _abort_connection(raw)
        raise
    finally:
        timer.cancel()


def _is_worth_a_line(error: asyncpg.PostgresError) -> bool:
    """A statement that took too long has a line each; a state that lasts, such as a read-only server, one an outage.

    A lock that another process holds for a moment is no fault: the write runs again.
    """
    if isinstance(error, asyncpg.LockNotAvailableError):
        return False
    return isinstance(error, asyncpg.QueryCanceledError) or _quiet.is_due(type(error).__name__)


def _abort_connection(raw: asyncpg.Connection[Any]) -> None:
    with suppress(asyncpg.InterfaceError):  # a pool has noticed before that it is lost
        raw.terminate()
