"""Notifications between processes: each hears within milliseconds that another one has committed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from service.domain.errors import Unavailable
from service.store.postgres.connection import LOST, deadline

log = logging.getLogger("roster.store")

_CHANNEL: Final = "roster"
_REST_S: Final = 0.005
_RECONNECT_S: Final = 1.0
_GREET_EVERY_S: Final = 5.0
_ALONE_AFTER_S: Final = 3 * _GREET_EVERY_S


class Notifications:
    """Sends and receives on a connection of its own.

    NOTIFY inside of the transaction would serialise the commits of all processes until after each fsync: 16 connections made
    3,111 instead of 8,101 commits a second. So it follows the commit, at most once in 5 ms, and only while there is another process.
    A lost notification costs the half second after which each process looks at the log by itself. Notifications carry no
    data: every role that can connect to the database can read them.

    Args:
        connect: raises what asyncpg raises, and `Unavailable`.
        on_commit: called on the loop when another process has committed.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection[Any]]], on_commit: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._on_commit = on_commit
        self._has_committed = False
        self._wake = asyncio.Event()
        self._heard_at = float("-inf")

    def announce(self) -> None:
        """Notify the other processes of a commit, soon."""
        self._has_committed = True
        self._wake.set()

    async def run(self) -> None:
        """Send and receive. Runs until cancelled."""
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._serve(connection)
                finally:
                    connection.terminate()
            except (*LOST, asyncpg.PostgresError, Unavailable):
                log.debug("cannot listen to PostgreSQL notifications; polling")
            await asyncio.sleep(_RECONNECT_S)

    async def _serve(self, connection: asyncpg.Connection[Any]) -> None:
        """Return when the connection is lost."""
        own = connection.get_server_pid()

        def on_notification(_connection: object, pid: int, _channel: str, _payload: object) -> None:
            if pid != own:
                self._heard_at = time.monotonic()
                self._on_commit()

        connection.add_termination_listener(lambda _: self._wake.set())
        async with deadline(connection):
            await connection.add_listener(_CHANNEL, on_notification)
        while not connection.is_closed():
            # Also without a commit: the others learn that this process is there.
            async with deadline(connection):
                await connection.execute(f"NOTIFY {_CHANNEL}")
            await self._wait_for_commit(connection)

    async def _wait_for_commit(self, connection: asyncpg.Connection[Any]) -> None:
        greet_at = time.monotonic() + _GREET_EVERY_S
        while not connection.is_closed() and (left := greet_at - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            if self._has_committed and time.monotonic() - self._heard_at < _ALONE_AFTER_S:
                self._has_committed = False
                await asyncio.sleep(_REST_S)
                return
