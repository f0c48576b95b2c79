"""The one ClientSession through which everything goes out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from service import __version__
from service.config.settings import Settings
from service.outbound.redirects import refuse_redirects
from service.outbound.resolver import Lookup, ThreadResolver
from service.outbound.retry import Retry
from service.outbound.tls import create_context

# Long enough to spare a busy aggregate its look-ups, short enough to follow an upstream that moves.
_DNS_CACHE_S: Final = 30


@contextlib.asynccontextmanager
async def open_session(
    settings: Settings, *, backoff_s: float = 0.1, lookup: Lookup = socket.getaddrinfo
) -> AsyncIterator[ClientSession]:
    """Open the session; it closes with its connections at the end of the block.

    It keeps no cookies (one caller's would reach another's call), follows no redirects, reads no proxy or netrc from
    the environment, and tries idempotent calls again. Each call says its own `X-Request-Id`.

    Args:
        backoff_s: bound of the wait before the first further try, in seconds.

    Raises `SettingsError` when `ROSTER_OUTBOUND_CA_FILE` cannot be used.
    """
    tls = create_context(settings.outbound_ca_file)
    resolver = ThreadResolver(lookup=lookup)
    session = ClientSession(
        connector=TCPConnector(
            limit=settings.outbound_connections,
            limit_per_host=settings.outbound_connections_per_host,
            ttl_dns_cache=_DNS_CACHE_S,
            resolver=resolver,
            ssl=tls,
        ),
        timeout=ClientTimeout(
            total=settings.outbound_total_timeout_s,
            # From asking the pool to the end of the handshake: a host that has used up its connections fails its
            # callers soon instead of queueing them.
            connect=settings.outbound_connect_timeout_s,
            sock_read=settings.outbound_read_timeout_s,
        ),
        headers={"User-Agent": f"roster/{__version__}"},
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        middlewares=(
            refuse_redirects,
            Retry(settings.outbound_retries, total_s=settings.outbound_total_timeout_s, base_s=backoff_s),
        ),
    )
    try:
        yield session
    finally:
        await session.close()
        await resolver.close()
