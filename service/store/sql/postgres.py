"""The store in PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, cast

import asyncpg

from service.domain.errors import Unavailable
from service.domain.ports import Clock
from service.domain.positions import Position
from service.store.sql import rows, schema
from service.store.sql.batch import Outcome, Work
from service.store.sql.dialects import POSTGRES, Statement
from service.store.sql.gatherer import CHANNEL, Gatherer
from service.store.sql.postgres_connection import LOST, PostgresConnection, deadline
from service.store.sql.store import SqlStore

_READ_DEADLINE_S: Final = 1.5
_CONNECT_S: Final = 1.5
_LISTEN_AGAIN_S: Final = 1.0
_MIGRATE_WAIT_S: Final = 60
_POOL: Final = 8
_LOOK_AGAIN_S: Final = 0.05
# The name of the lock that whoever writes holds.
_OWNING: Final = 0x526F7374

log = logging.getLogger("roster.store")


class PostgresStore(SqlStore):
    """Keeps the promises of `Store` in a database.

    Its statements bear other writers beside it. But readers and limits of several processes have to hear of each other in
    other ways, too, which there are none of yet: so one process at a time has it, by a lock that goes with its connection.

    Args:
        keep_s: events younger than this are kept however many there are; 0 for by count alone.
        schema_name: where its tables are; None for where the server looks first.
        wait_s: how long to wait for another process to leave; None to share it with others.
        may_migrate: whether tables of another revision are brought to that of this code.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        keep_events: int = 100_000,
        keep_s: float = 0,
        schema_name: str | None = None,
        wait_s: float | None = 30,
        may_migrate: bool = True,
    ) -> None:
        super().__init__(POSTGRES, clock, keep_events, keep_s)
        self._url = url
        self._wait_s = wait_s
        self._may_migrate = may_migrate
        self._settings = {"statement_timeout": "5000", "timezone": "UTC", "application_name": "roster"}
        if schema_name is not None:
            self._settings["search_path"] = schema_name

    async def open(self) -> None:
        """Connect, and bring the tables up to date.

        Raises `Unavailable` when the server is not there, another process does not leave, or the tables are not those of
        this code.
        """
        try:
            await self._look_at_tables()
            writer = await self._connect_to_write(self._wait_s)
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=_POOL,
                server_settings=self._settings,
                timeout=_CONNECT_S,
                reset=_as_it_is,
            )
        except (*LOST, asyncpg.PostgresError) as error:  # also a wrong password, a database that is not there
            raise Unavailable(1, f"PostgreSQL cannot be reached: {error}") from None
        except (ValueError, OverflowError):  # whose sentences repeat what may be a password
            raise Unavailable(1, "The URL of the database cannot be read.") from None
        self._gatherer = Gatherer(writer, self._connect_to_write, self._kept, self._ring)
        self._listening = asyncio.create_task(self._listen(), name="listen to PostgreSQL")

    async def close(self) -> None:
        await self._gatherer.close()
        self._listening.cancel()
        await asyncio.wait((self._listening,))
        self._pool.terminate()

    async def _look_at_tables(self) -> None:
        connection = await self._connect()
        try:
            async with deadline(connection, _READ_DEADLINE_S):
                found = await PostgresConnection(connection).revision()
        finally:
            connection.terminate()
        if found != schema.REVISION:
            schema.refuse(found, may_migrate=self._may_migrate)
            from service.store.sql import migrate

            await migrate.in_postgres(self._connect_to_migrate, migrate.upgrade)

    async def _connect_to_migrate(self) -> asyncpg.Connection[Any]:
        # A migration may take long; what it waits for, another one or those who read a table, may not.
        settings = {**self._settings, "statement_timeout": "0", "lock_timeout": f"{_MIGRATE_WAIT_S}s"}
        return await asyncpg.connect(self._url, server_settings=settings, timeout=_CONNECT_S)

    async def _connect(self) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(self._url, server_settings=self._settings, timeout=_CONNECT_S)

    async def _connect_to_write(self, wait_s: float | None = _CONNECT_S) -> asyncpg.Connection[Any]:
        """A connection whose session has the database, as long as it lasts. Raises `Unavailable`."""
        connection = await self._connect()
        if self._wait_s is None or wait_s is None:
            return connection
        try:
            await own(connection, wait_s)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def healthy(self) -> bool:
        try:
            async with asyncio.timeout(1):
                await self.position()
        except (Unavailable, TimeoutError):
            return False
        return True

    async def _find(self, statement: Statement, **given: Any) -> Sequence[rows.Row]:
        try:
            connection = await self._pool.acquire(timeout=_READ_DEADLINE_S)
        except LOST:
            raise Unavailable(1) from None
        try:
            async with deadline(cast("asyncpg.Connection[Any]", connection), _READ_DEADLINE_S):
                return await PostgresConnection(cast("asyncpg.Connection[Any]", connection)).rows(statement, **given)
        finally:
            await self._pool.release(connection)

    async def _carry_out(self, work: Work) -> tuple[Outcome, Position]:
        return await self._gatherer.write(work)

    async def _listen(self) -> None:
        """Ring when another process has committed, until cancelled. A bell only: who follows the log looks by itself."""
        while True:
            try:
                connection = await self._connect()
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._ring())
                    await lost.wait()
                finally:
                    connection.terminate()
            except LOST:
                log.debug("nobody rings: PostgreSQL cannot be listened to")
            await asyncio.sleep(_LISTEN_AGAIN_S)


async def _as_it_is(_: asyncpg.Connection[Any]) -> None:
    """Instead of asyncpg's own, which asks the server at each return to forget what nobody here has changed."""


async def own(connection: asyncpg.Connection[Any], wait_s: float) -> None:
    """Take the database, for as long as this connection lasts. Raises `Unavailable` when another process does not leave."""
    until = asyncio.get_running_loop().time() + wait_s
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext(current_schema))", _OWNING):
        if asyncio.get_running_loop().time() > until:
            raise Unavailable(1, "The database belongs to another process, which has not left it.")
        await asyncio.sleep(_LOOK_AGAIN_S)
