"""One connection to PostgreSQL, with a deadline that holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from service.domain.errors import Unavailable
from service.store.sql.dialects import POSTGRES, Statement
from service.store.sql.rows import Row

# What is raised when the server, or the way to it, is not there.
LOST: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError,
               asyncpg.TooManyConnectionsError)  # fmt: skip


class PostgresConnection:
    """Runs statements of a `deadline`, or inside a transaction that the caller has begun."""

    dialect = POSTGRES

    def __init__(self, raw: asyncpg.Connection[Any]) -> None:
        self.raw = raw
        self._has_savepoint = False

    async def revision(self) -> str | None:
        """Of which revision the tables are; None where there are none."""
        if await self.raw.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await self.raw.fetchval("SELECT version_num FROM alembic_version")
        return found

    async def rows(self, statement: Statement, **given: Any) -> Sequence[Row]:
        compiled = statement.compiled(POSTGRES)
        found: Sequence[Row] = await self.raw.fetch(compiled.text, *POSTGRES.values(compiled, given))
        return found

    async def run(self, statement: Statement, **given: Any) -> None:
        compiled = statement.compiled(POSTGRES)
        await self.raw.execute(compiled.text, *POSTGRES.values(compiled, given))

    async def run_many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        compiled = statement.compiled(POSTGRES)
        await self.raw.executemany(compiled.text, [POSTGRES.values(compiled, one) for one in given])

    looks_first = False  # a way to the server and back costs more than all that is done there

    def taken_field(self, error: Exception) -> str | None:
        if not isinstance(error, asyncpg.UniqueViolationError):
            return None
        constraint: str = error.constraint_name or ""
        return constraint.removeprefix("uq_users_") if constraint.startswith("uq_users_") else None

    async def savepoint(self) -> None:
        # The one before is released on the same way; the last one by the commit.
        await self.raw.execute("RELEASE work; SAVEPOINT work" if self._has_savepoint else "SAVEPOINT work")
        self._has_savepoint = True

    async def release(self) -> None:
        pass

    async def undo(self) -> None:
        await self.raw.execute("ROLLBACK TO work")

    def came_between(self, error: Exception) -> bool:
        return isinstance(
            error,
            (
                asyncpg.UniqueViolationError,
                asyncpg.ForeignKeyViolationError,
                asyncpg.DeadlockDetectedError,
                asyncpg.SerializationError,
            ),
        )


@asynccontextmanager
async def deadline(raw: asyncpg.Connection[Any], seconds: float) -> AsyncIterator[None]:
    """Hang up on a server that does not answer in time. Raises `Unavailable` for whatever means that it is not there.

    Not by a timeout around the call: cancelling one, asyncpg asks the server to stop and waits for it to say so, and a
    frozen server made 7 seconds of 2.
    """
    timer = asyncio.get_running_loop().call_later(seconds, raw.terminate)
    try:
        yield
    except LOST:
        raise Unavailable(1) from None
    finally:
        timer.cancel()
