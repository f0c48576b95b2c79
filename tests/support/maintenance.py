"""Helpers for tests of maintenance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.domain.auth.sessions import Origin
from service.domain.auth.totp import SecondFactor, new_secret
from service.domain.ports import Store, Transaction
from service.domain.users.user import User
from service.store.maintenance import locations
from service.store.postgres.store import PostgresStore
from service.store.sql.tables import metadata
from service.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep, updated
from tests.support.keys import a_key
from tests.support.places import NewPlace
from tests.support.stores import a_session, a_token, erase, keep_session, keep_token


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store of a service that runs on this place."""
    path = url.removeprefix("sqlite:///")
    clock = ManualClock()
    store: Store = PostgresStore(url, clock) if path == url else SqliteStore(Path(path), clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def filled(new_place: NewPlace, kind: str) -> str:
    """A place of that kind that holds something of everything."""
    url = await new_place(kind)
    async with opened(url) as store:
        await fill(store)
    return url


async def fill(store: Store) -> User:
    """Have it hold something of everything; a user of those is returned."""
    ada, bob, eve = a_user(name="Ada Ünïcode", age=36), a_user(role="admin"), a_user(active=False)
    await keep(store, ada, bob, eve)

    async def rename(transaction: Transaction) -> None:
        await transaction.users.save(
            renamed := replace(ada, name="Ada Lovelace", updated_at=ada.updated_at + timedelta(1))
        )
        await transaction.users.set_password(ada.id, "a hash")
        await transaction.events.append(updated(renamed, "name"))

    await store.write(rename, BY)
    session = a_session(
        ada, ada.created_at, absolute_expires_at=ada.created_at + timedelta(60), origin=Origin("192.0.2.1", "x")
    )
    await keep_session(store, session)
    await keep_token(store, a_token(ada, ada.created_at, expires_at=None))

    async def protect(transaction: Transaction) -> None:
        await transaction.second_factors.save(ada.id, SecondFactor(new_secret(), ada.created_at, 59_000_000))
        await transaction.second_factors.replace_recovery_codes(ada.id, [b"c" * 32, b"d" * 32])

    await store.write(protect, BY)
    await store.tickets.create(b"t" * 32, session.id, session.expires_at)
    await store.secrets.get_or_create("cursors")
    await store.signing_keys.add_if_none(a_key("ES256"))
    await erase(store, eve)
    return ada


async def contents(url: str) -> dict[str, Any]:
    """Every row of every table, but for the epoch, and for what tells of the copying itself."""
    found: dict[str, Any] = {}
    async with locations.locate_database(url).open_reader() as reader:
        for table in metadata.sorted_tables:
            if table.name == "runs":
                continue  # of each database its own
            found[table.name] = sorted([tuple(row) async for rows in reader.walk(table) for row in rows], key=str)
    ((one, _, *counted, _),) = found["log"]
    found["log"] = [one, *counted]
    found["audit"] = [row for row in found["audit"] if "data.replaced" not in row]
    return found
