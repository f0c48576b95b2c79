"""A connection to Redis or Valkey: how it is opened, and what counts as its failure."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError

TIMEOUT_S: Final = 1.0
_FIRST_WAIT_S: Final = 0.05
_MOST_WAIT_S: Final = 2.0

# A replica answers so after a failover: another server is in charge.
NOT_IN_CHARGE: Final = (ReadOnlyError, MasterDownError)
FAILURES: Final = (RedisError, OSError, TimeoutError)


def create_connection(url: str, ca_file: str | None) -> Connection:
    """A connection that is not open yet. Each one looks the host up again.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with password and database as redis-py reads them.
        ca_file: certificates that may have signed the server's; None for those of the system.

    Raises:
        ValueError: the URL cannot be used.
    """
    options: dict[str, Any] = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    if kind is SSLConnection:
        options |= {"ssl_ca_certs": ca_file, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
    elif kind is not UnixDomainSocketConnection:
        options["socket_keepalive"] = True
    # Retries are ours: those of the library would answer for a server that does not answer after a minute.
    connection: Connection = kind(
        **options,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=None,
        protocol=2,
        client_name="roster",
        driver_info=None,
    )
    return connection


def abort(connection: Connection) -> None:
    """Close a connection at once, whatever waits to be sent; the task that reads it fails."""
    writer = connection._writer  # `disconnect` waits, and belongs to the task that reads
    if writer is not None:
        writer.transport.abort()


async def keep_connected(serve: Callable[[], Awaitable[None]], on_failure: Callable[[Exception], None]) -> None:
    """Run `serve` again and again: it connects, serves, and raises when the connection fails. Runs until cancelled.

    Waits between attempts grow from 50 ms to 2 s, with full jitter; a connection that served begins again at 50 ms.
    """
    loop, wait_s = asyncio.get_running_loop(), _FIRST_WAIT_S
    while True:
        began = loop.time()
        try:
            await serve()
        except FAILURES as error:
            on_failure(error)
        if loop.time() - began > _MOST_WAIT_S:
            wait_s = _FIRST_WAIT_S
        await asyncio.sleep(random.uniform(0, wait_s))  # nosec B311  # no secret
        wait_s = min(2 * wait_s, _MOST_WAIT_S)
