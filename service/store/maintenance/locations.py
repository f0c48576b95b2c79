"""From a store URL to what stands there."""

from __future__ import annotations

from pathlib import Path

from service.domain.errors import Unavailable
from service.store.maintenance.database import Database
from service.store.maintenance.sqlite import SqliteDatabase


def locate_database(url: str) -> Database:
    """The database of a store URL, not opened yet. Raises `Unavailable` if the URL names none."""
    if url == "memory://":
        raise Unavailable(1, "memory:// keeps nothing beyond its process; name sqlite:///path or postgresql://…")
    path = url.removeprefix("sqlite:///")
    if path != url and path.strip("/"):
        return SqliteDatabase(Path(path))
    if not url.startswith(("postgresql://", "postgres://")):
        raise Unavailable(1, "A store is written sqlite:///path or postgresql://user:password@host/database.")
    try:
        from service.store.maintenance.postgres import PostgresDatabase
    except ImportError:
        raise Unavailable(1, "For PostgreSQL asyncpg is missing: pip install '.[postgres]' in a checkout") from None
    return PostgresDatabase(url)
