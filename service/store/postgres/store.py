"""The store in PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import func, select

from service.domain.audit import KEEP_AUDIT_S
from service.domain.errors import DomainError, Unavailable
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.ports import Clock, Snapshot
from service.store.identity import begin_run, postgres_identity
from service.store.postgres.connection import (
    LOST,
    SILENCE_S,
    STOP_MS,
    PostgresConnection,
    deadline,
)
from service.store.postgres.lease import RENEW_EVERY_S, Lease
from service.store.postgres.notifications import Notifications
from service.store.postgres.server import (
    apply_settings,
    check_budget,
    check_server,
    connect,
    startup_settings,
)
from service.store.postgres.writer import PostgresWriter
from service.store.sql import schema
from service.store.sql.batch import Work
from service.store.sql.dialects import LOCK_MS, POSTGRES, Statement
from service.store.sql.log_statements import POSITION
from service.store.sql.results import WriteSuccess
from service.store.sql.row_mapper import Row
from service.store.sql.store import SqlStore
from service.telemetry.quiet import Quiet

_LEASE_CHECK_S: Final = 1.0
_RECONNECT_S: Final = 0.2
_SHARED_WAIT_S: Final = 30.0
_MIN_TIMEOUT_S: Final = 0.3
_RELEASE_S: Final = 0.3  # what the server takes to notice that the connection before this one has ended
_POOL: Final = 8
_PAGE: Final = 500
# How the server detects that this process is gone, so that it releases our locks: after ten seconds of silence on the wire, and
# from five in the middle of a transaction.
_LOSS_DETECTION: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "idle_in_transaction_session_timeout": "5000",
}

# A server that is a standby, or out of room and set to this by its operator. New sessions are read-only then, and so is
# each transaction of those that there are.
_READ_ONLY: Final = Statement(lambda _: select(func.current_setting("transaction_read_only")))

log = logging.getLogger("roster.store")


class PostgresStore(SqlStore):
    """Keeps the promises of `Store` in a database.

    Several processes may write at the same time. Where they share nothing else, one process at a time has the database, by a
    lock that ends with its connection.

    Args:
        keep_s: events younger than this are kept however many there are; 0 for by count alone.
        keep_audit_s: entries of the audit are kept as long.
        schema_name: where its tables are; None for where the server looks first.
        wait_s: how long to wait for another process to leave; None to share it with others.
        workers: processes of this host that share the database; only their connections are counted at the start.
        may_migrate: whether tables of another revision are brought to that of this code.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        keep_events: int = 100_000,
        keep_s: float = 0,
        keep_audit_s: float = KEEP_AUDIT_S,
        schema_name: str | None = None,
        wait_s: float | None = 30,
        may_migrate: bool = True,
        workers: int = 1,
    ) -> None:
        super().__init__(POSTGRES, clock, keep_events, keep_s, keep_audit_s)
        self._url = url
        self._wait_s = wait_s
        self._may_migrate = may_migrate
        self._workers = workers
        self._lease = Lease()
        self._notifications = Notifications(lambda: self._connect(self._settings), lambda: self._notify(()))
        self._quiet = Quiet()
        self._can_write = True  # what the last try to renew the lease, which is a write, came to
        # asyncpg's pool gives a free connection to the next caller, not to the one that has waited longest:
        # of 32 readers some waited for half a second, where most took two milliseconds.
        self._turns = asyncio.Semaphore(_POOL)
        self._settings = {"timezone": "UTC", "application_name": self._lease.name, **_LOSS_DETECTION}
        if schema_name is not None:
            self._settings["search_path"] = schema_name
        self._bounded = {**self._settings, "statement_timeout": str(STOP_MS), "lock_timeout": str(LOCK_MS)}

    async def open(self) -> None:
        """Connect, bring the tables up to date, and take the database.

        Waits for a server that is starting, and for a process that is leaving. Raises `Unavailable`, with a sentence for the
        operator, when either takes too long, the server will not have us, or the tables are not those of this code.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (_SHARED_WAIT_S if self._wait_s is None else self._wait_s)
        try:
            await self._ensure_tables(until)
            writer = await self._connect_to_write(max(until - loop.time(), 0))
            try:
                await self._lease.renew(PostgresConnection(writer))
                await self._begin_run(writer)
                # A reload has the old and the new workers for a moment. Each has the pool, the writer and the notifications.
                await check_budget(writer, 2 * self._workers * (_POOL + 2))
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,  # else it asks for a server that is gone, without an end and with a traceback each time
                    max_size=_POOL,
                    server_settings=startup_settings(self._bounded),
                    init=self._prepare,
                    timeout=SILENCE_S,
                    reset=_keep_session,
                )
            except BaseException:
                writer.terminate()
                raise
        except Unavailable as error:
            if error.__cause__ is None:
                raise
            raise Unavailable(1, f"PostgreSQL cannot be used: {error.__cause__}") from error
        except (*LOST, asyncpg.PostgresError) as error:  # also a wrong password, a database that is not there
            raise Unavailable(1, f"PostgreSQL cannot be used: {error}") from error
        except (ValueError, OverflowError):  # whose sentences repeat what may be a password
            raise Unavailable(1, "The URL of the database cannot be read.") from None
        self._writer = PostgresWriter(writer, self._reconnect_to_write, self._retention, self._on_commit)
        self._tasks = [
            asyncio.create_task(self._notifications.run(), name="listen to PostgreSQL"),
            asyncio.create_task(self._renew_lease(), name="renew the lease"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        with suppress(Unavailable):  # then it ends by itself
            await self.execute(self._lease.end)
        await self._writer.close()
        self._pool.terminate()

    def _on_commit(self, events: Sequence[Event]) -> None:
        self._notify(events)
        self._notifications.announce()

    async def _begin_run(self, writer: asyncpg.Connection[Any]) -> None:
        """Start a new epoch where the database is not the one of the last run."""
        async with deadline(writer):
            identity = await postgres_identity(writer)
        connection = PostgresConnection(writer)
        await connection.execute("BEGIN")
        await begin_run(connection, identity, lambda kept, _: kept == identity)
        await connection.execute("COMMIT")

    async def _ensure_tables(self, until: float) -> None:
        probe = await self._connect_to_starting(until)
        try:
            await check_server(probe, self._connect_to_probe)
        finally:
            probe.terminate()
        connection = await self._connect(self._settings)
        try:
            async with deadline(connection):
                found = await PostgresConnection(connection).revision()
        finally:
            connection.terminate()
        if found != schema.REVISION:
            schema.refuse(found, may_migrate=self._may_migrate)
            from service.store.sql import migrate

            # Without the time limit of `_bounded`: a migration may take long.
            await migrate.in_postgres(lambda: self._connect(self._settings), migrate.upgrade)

    async def _connect(self, settings: Mapping[str, str]) -> asyncpg.Connection[Any]:
        return await connect(self._url, settings)

    async def _connect_to_probe(self) -> asyncpg.Connection[Any]:
        # Without named statements, which a pooler in transaction mode would look for in the wrong session.
        return await asyncpg.connect(
            self._url, server_settings=startup_settings(self._settings), timeout=SILENCE_S, statement_cache_size=0
        )

    async def _prepare(self, connection: asyncpg.Connection[Any]) -> None:
        await apply_settings(connection, self._bounded)

    def _fail(self, error: Exception) -> Unavailable:
        """The error for a caller when no connection can be made; one log line per outage."""
        kind = type(error).__name__
        if self._quiet.is_due(kind):
            log.error("no connection to PostgreSQL; requests return 503: %s", str(error) or kind)
        return Unavailable(1)

    async def _connect_to_starting(self, until: float) -> asyncpg.Connection[Any]:
        """A connection to a server that may only be starting."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                return await self._connect_to_probe()
            except asyncpg.ProtocolViolationError:
                raise  # a pooler that refuses what we ask of it; waiting changes nothing
            except LOST as error:
                if now() >= until:
                    raise
                if self._quiet.is_due("start"):
                    host, port = _address_of(self._url)
                    wait = {"host": host, "port": port, "at_most_s": round(until - now()), "reason": str(error)}
                    log.warning("waiting for PostgreSQL", extra=wait)
            await asyncio.sleep(_RECONNECT_S)

    async def _connect_to_write(self, wait_s: float = _RELEASE_S) -> asyncpg.Connection[Any]:
        """A connection whose session has the database, as long as it lasts. Raises `Unavailable`."""
        try:
            connection = await self._connect(self._bounded)
        except (*LOST, asyncpg.PostgresError) as error:
            raise self._fail(error) from error
        if self._wait_s is not None:
            try:
                await self._lease.take(connection, wait_s)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _reconnect_to_write(self) -> asyncpg.Connection[Any]:
        """The same after a connection was lost: a standby may have taken over meanwhile, without the last commits."""
        connection = await self._connect_to_write()
        try:
            await self._begin_run(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _renew_lease(self) -> None:
        """Renew the lease until cancelled. This also finds a server that has returned while there are no writes."""
        renewed_at = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            if not self._writer.is_connected or now - renewed_at >= RENEW_EVERY_S:
                try:
                    await self.execute(self._lease.renew)
                    renewed_at, self._can_write = now, True
                except DomainError as error:
                    self._can_write = False
                    log.debug("the lease is not renewed: %s", error)
                except Exception:
                    log.exception(
                        "cannot renew the lease of the database; will retry"
                    )  # and must be tried again: others would think us gone
            await asyncio.sleep(_LEASE_CHECK_S)

    async def is_healthy(self) -> bool:
        try:
            async with asyncio.timeout(1):
                ((read_only,),) = await self.find(_READ_ONLY)
        except (Unavailable, TimeoutError):
            return False
        if read_only != "off":
            await self._pool.expire_connections()  # a session keeps the default with which it began
            return False
        return self._writer.is_connected and self._can_write

    async def find(self, statement: Statement, **given: Any) -> Sequence[Row]:
        until = asyncio.get_running_loop().time() + SILENCE_S
        try:
            async with asyncio.timeout_at(until):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(1) from None
        try:
            return await self._find_in_turn(until, statement, given)
        finally:
            self._turns.release()

    async def _find_in_turn(self, until: float, statement: Statement, given: Mapping[str, Any]) -> Sequence[Row]:
        now = asyncio.get_running_loop().time
        # Who has waited for its turn, or for a connection, has that much less time to wait for the answer.
        try:
            acquired = await self._pool.acquire(timeout=max(until - now(), _MIN_TIMEOUT_S))
        except (*LOST, asyncpg.PostgresError) as error:
            raise self._fail(error) from error
        connection = cast("asyncpg.Connection[Any]", acquired)
        try:
            left_s = max(until - now(), _MIN_TIMEOUT_S)
            return await PostgresConnection(connection, left_s).rows(statement, **given)
        finally:
            await self._pool.release(acquired)

    @asynccontextmanager
    async def stream(self, statement: Statement) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[Row]]]]:
        try:
            # The reader of the export may pause for any time.
            connection = await self._connect({**self._bounded, "idle_in_transaction_session_timeout": "0"})
        except (*LOST, asyncpg.PostgresError) as error:
            raise self._fail(error) from error
        try:
            async with deadline(connection):
                await connection.transaction(isolation="repeatable_read", readonly=True).start()
                ((epoch, seq, _),) = await PostgresConnection(connection).rows(POSITION)
                cursor = await connection.cursor(statement.compiled(POSTGRES).text)

            async def pages() -> AsyncIterator[Sequence[Row]]:
                while True:
                    async with deadline(connection):
                        found = await cursor.fetch(_PAGE)
                    if not found:
                        return
                    yield found

            yield Snapshot(pages(), Position(epoch, seq))
        finally:
            connection.terminate()  # what it has begun ends with it

    async def _run(self, work: Work) -> tuple[WriteSuccess, Position]:
        return await self._writer.write(work)


def _address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL that asyncpg could read."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or 5432


async def _keep_session(_: asyncpg.Connection[Any]) -> None:
    """Replaces asyncpg's reset, which sends a statement at each release to undo changes that this service never makes."""
