"""A new epoch by command."""

from __future__ import annotations

import pytest

from service.http.services import SERVICES
from service.store.maintenance import locations
from service.store.maintenance.epochs import start_epoch
from tests.support.places import LASTING, NewPlace
from tests.support.server import serve


@pytest.mark.parametrize("kind", LASTING)
async def test_readers_of_a_running_service_resync(new_place: NewPlace, kind: str) -> None:
    """`roster db new-epoch` ends open feeds; a reader that comes back with its old position is reset, and the audit says why."""
    url = await new_place(kind)
    async with serve(store_url=url) as server:
        admin = await server.admin()
        before = await server.app[SERVICES].store.events.read_position()
        async with server.feed(admin) as stream:
            await stream.expect("hello")
            after = await start_epoch(locations.locate_database(url))
            assert (after.epoch != before.epoch, after.seq) == (True, before.seq)
            assert (await stream.expect("closing")).data["reason"] == "feed_failed"
        async with server.feed(admin, params={"after": str(before)}) as stream:
            await stream.expect("hello")
            assert (await stream.expect("reset")).data["reason"] == "epoch"
        entries = await server.json("GET", "/v1/audit?action=epoch.started", admin)
        assert [entry["component"] for entry in entries["items"]] == ["command"]
    async with serve(store_url=url) as server:
        assert (await server.app[SERVICES].store.events.read_position()).epoch == after.epoch
