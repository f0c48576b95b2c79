"""Exports and the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.domain.ports import Snapshot, Store
from service.domain.users.user import User
from service.http.services import SERVICES
from tests.support.ndjson import person, post_import
from tests.support.server import Login, Server
from tests.support.wait import until

LINES = {"Accept": "application/x-ndjson"}


async def entries(server: Server, by: Login, action: str, count: int) -> list[dict[str, Any]]:
    """The entries with this action, once there are so many."""
    found: list[dict[str, Any]] = []

    async def are_there() -> bool:
        found[:] = (await server.json("GET", f"/v1/audit?action={action}", by))["items"]
        return len(found) >= count

    await until(are_there)
    return found


@pytest.mark.parametrize(
    ("path", "headers", "action"),
    [("/v1/users/export", {}, "users.exported"), ("/v1/audit", LINES, "audit.exported")],
)
async def test_export_leaves_an_audit_entry(server: Server, path: str, headers: dict[str, str], action: str) -> None:
    """It says who exported, from where and how many lines; a HEAD, and a page, leave none."""
    admin = await server.admin()
    await post_import(server, admin, map(person, range(3)))
    async with server.request("HEAD", path, admin, headers=headers) as answer:
        assert answer.status == 200
    async with server.request("GET", path, admin, headers=headers) as answer:
        lines = len((await answer.text()).splitlines()) - 1  # the last one counts them
        request_id = answer.headers["X-Request-Id"]

    (entry,) = await entries(server, admin, action, 1)
    assert (entry["actor"], entry["subject"], entry["request_id"]) == (admin.id, None, request_id)
    assert entry["details"] == {"count": lines, "complete": True}


class EndlessUsers:
    """All users of a store, repeatedly, until the client disconnects."""

    def __init__(self, store: Store) -> None:
        self._real = store.users.stream_all

    @asynccontextmanager
    async def stream_all(self) -> AsyncIterator[Snapshot[AsyncIterator[Sequence[User]]]]:
        async with self._real() as (pages, position):
            page = [user async for page in pages for user in page]

            async def endless() -> AsyncIterator[Sequence[User]]:
                while True:
                    yield page * 100

            yield Snapshot(endless(), position)


async def test_export_that_its_client_breaks_off_leaves_an_audit_entry(server: Server) -> None:
    """The lines sent until then are counted, and the entry says that the export was not complete."""
    admin = await server.admin()
    store = server.app[SERVICES].store
    store.users.stream_all = EndlessUsers(store).stream_all  # type: ignore[method-assign]  # an export that does not end
    async with server.request("GET", "/v1/users/export", admin) as answer:
        await answer.content.readany()
        answer.close()

    (entry,) = await entries(server, admin, "users.exported", 1)
    assert entry["details"]["complete"] is False
    assert entry["details"]["count"] > 0
