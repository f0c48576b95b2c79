"""Stores with the tables of today and nothing in them, copied: a migration takes ten times as long."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg

from service.domain.events.position import new_epoch
from service.store.sql import migrate
from service.store.sql.tables import metadata
from tests.support.postgres import dump

_NEW_EPOCH = "UPDATE log SET epoch = '{}'"


class SqliteTemplate:
    """A migrated file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def copy(self, target: Path) -> None:
        """Put a store there: its own log, in its own epoch."""
        if not self._path.exists():
            migrate.in_sqlite(self._path, migrate.upgrade)
        shutil.copyfile(self._path, target)
        os.chmod(target, 0o600)
        with closing(sqlite3.connect(target)) as file, file:
            file.execute("PRAGMA synchronous = off")
            file.execute(_NEW_EPOCH.format(new_epoch()))


class PostgresTemplate:
    """A migrated schema of a database, as the script that makes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._script: str | None = None
        self._being_made = asyncio.Lock()
        self._unused: list[str] = []
        self._numbers = itertools.count(1)

    async def copy(self, name: str) -> str:
        """Make a schema of that name with a store in it; its URL."""
        async with self._being_made:
            if self._script is None:
                self._script = await self._make()
        script = self._script.replace("template_of_tests", name) + _NEW_EPOCH.format(new_epoch())
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(script.replace("UPDATE log", f"UPDATE {name}.log"))
        finally:
            await connection.close()
        return f"{self._url}?search_path={name}"

    async def clear(self, place: str) -> None:
        """Make a copy what it was at first."""
        assert self._script is not None
        name = place.rpartition("=")[2]
        first_rows = re.findall(r"^INSERT INTO (?!\w+\.alembic_version).*$", self._script, re.MULTILINE)
        connection = await asyncpg.connect(place)
        try:
            await connection.execute(
                "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))
                + "; "
                + "".join(first_rows).replace("template_of_tests", name)
                + _NEW_EPOCH.format(new_epoch())
            )
        finally:
            await connection.close()

    async def take(self) -> str:
        """The URL of a store with nothing in it: of one that was given back, or of a new one."""
        if self._unused:
            await self.clear(place := self._unused.pop())
            return place
        return await self.copy(f"copy{next(self._numbers)}")

    def give_back(self, place: str) -> None:
        """Let a later test have it: clearing one takes a fifth of the time of a copy."""
        self._unused.append(place)

    async def _make(self) -> str:
        connection = await asyncpg.connect(self._url)
        await connection.execute("CREATE SCHEMA template_of_tests")
        await connection.close()
        settings = {"search_path": "template_of_tests"}
        await migrate.in_postgres(lambda: asyncpg.connect(self._url, server_settings=settings), migrate.upgrade)
        script = await asyncio.to_thread(dump, self._url, "template_of_tests")
        # Settings of the session and psql's own commands are not for a connection that goes on.
        return re.sub(r"^(SET .*|SELECT pg_catalog\.set_config.*|\\.*|--.*)$", "", script, flags=re.MULTILINE)
