"""Connecting to PostgreSQL, directly or through a pooler in session mode, and what the server must offer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import asyncpg

from service.domain.errors import Unavailable
from service.store.postgres.connection import SILENCE_S, deadline

log = logging.getLogger("roster.store")

Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]

# PgBouncer accepts these in the start-up message and refuses all others, unless `ignore_startup_parameters` names them;
# then the settings would be lost. The rest is sent as SQL.
_AT_STARTUP: Final = frozenset({"timezone", "application_name"})
_PROBES: Final = 8

_SHARED: Final = (
    "A pooler shares sessions between transactions there (PgBouncer: pool_mode=transaction). Roster needs its sessions to "
    "itself, for an advisory lock and prepared statements: set pool_mode=session, or connect to PostgreSQL directly."
)


def startup_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The part of the settings that goes into the start-up message."""
    return {name: value for name, value in settings.items() if name in _AT_STARTUP}


async def apply_settings(raw: asyncpg.Connection[Any], settings: Mapping[str, str]) -> None:
    """Send the other part, in one round trip. Raises `Unavailable`."""
    calls = [
        f"set_config({_quote(name)}, {_quote(value)}, false)"
        for name, value in settings.items()
        if name not in _AT_STARTUP
    ]
    async with deadline(raw):
        await raw.execute(f"SELECT {', '.join(calls)}")


async def connect(url: str, settings: Mapping[str, str], timeout_s: float = SILENCE_S) -> asyncpg.Connection[Any]:
    """A connection with these settings. Raises what asyncpg raises, and `Unavailable`."""
    raw = await asyncpg.connect(url, server_settings=startup_settings(settings), timeout=timeout_s)
    try:
        await apply_settings(raw, settings)
    except BaseException:
        raw.terminate()
        raise
    return raw


async def check_budget(raw: asyncpg.Connection[Any], needed: int) -> None:
    """Warn where the server does not have so many connections for this user. Raises `Unavailable`."""
    async with deadline(raw):
        ((most, reserved),) = await raw.fetch(
            "SELECT current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int"
        )
    if needed > most - reserved:
        extra = {"needed": needed, "max_connections": most, "reserved": reserved}
        log.warning("PostgreSQL has too few connections for all workers; requests may return 503", extra=extra)


async def check_server(raw: asyncpg.Connection[Any], connect_again: Connect) -> None:
    """Refuse a server on which requests would fail later.

    Args:
        connect_again: makes a second connection like `raw`.

    Raises `Unavailable`, with a sentence for the operator, where the database is not in UTF-8, and where a pooler gives
    each transaction another session.
    """
    async with deadline(raw), raw.transaction():
        encoding = await raw.fetchval("SELECT current_setting('server_encoding')")
        session = await _session_of(raw)
    if encoding != "UTF8":
        raise Unavailable(
            1,
            f"The database has the encoding {encoding}, which cannot hold every name; Roster needs UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )
    if session != raw.get_server_pid():  # a pooler makes up the number that it tells its client
        await _refuse_shared_sessions(raw, connect_again, session)


async def _refuse_shared_sessions(raw: asyncpg.Connection[Any], connect_again: Connect, session: int) -> None:
    other = await connect_again()
    try:
        for _ in range(_PROBES):  # other clients of the pooler may hide one look
            async with deadline(other), other.transaction():
                if await _session_of(other) == session:
                    raise Unavailable(1, _SHARED)
                async with deadline(raw), raw.transaction():
                    if await _session_of(raw) != session:
                        raise Unavailable(1, _SHARED)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        raise Unavailable(1, _SHARED) from None
    finally:
        other.terminate()


async def _session_of(raw: asyncpg.Connection[Any]) -> int:
    found: int = await raw.fetchval("SELECT pg_backend_pid()")
    return found


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
