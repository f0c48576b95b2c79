"""The feed as an EventSource of a browser lives with it."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest

from service.app import now
from service.http.services import SERVICES
from service.realtime import close_reasons
from service.store.memory.store import MemoryStore
from tests.browser.listener import Listener, ticket
from tests.support.browser import Browse
from tests.support.hosts import host
from tests.support.server import ADMIN_PASSWORD, PASSWORD, Login, Server, serve
from tests.support.wait import until

pytestmark = pytest.mark.browser

_numbers = itertools.count(1)


async def change(server: Server, by: Login) -> str:
    """Write one event about this user; returns its position."""
    async with server.request("PATCH", f"/v1/users/{by.id}", by, json={"name": f"name {next(_numbers)}"}) as answer:
        assert answer.status == 200
        return answer.headers["ETag"].strip('"')


async def test_event_source_lives_through_a_restart(browse: Browse) -> None:
    """After a restart it reconnects to the new process, and gets every event once and in order."""
    store = MemoryStore(now)
    async with host(store) as elsewhere, AsyncExitStack() as life:
        first = await life.enter_async_context(host(store))
        admin = await elsewhere.admin()
        start = await change(elsewhere, admin)
        # On a machine that is busy it may come back before the second listens, and has to come again.
        async with browse(first.url, faults=r"net::ERR_CONNECTION_REFUSED$") as page:
            spent = await ticket(page, "admin", ADMIN_PASSWORD)
            feed = await Listener.event_source(page, f"/v1/feed?ticket={spent}&after={start}")
            assert (await feed.expect("hello")).id == start
            written = [await change(elsewhere, admin) for _ in range(5)]
            await until(lambda: feed.heard[-1].id == written[-1])

            async with asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(life.aclose(), name="stop the first")
                while not stopping.done():
                    written.append(await change(elsewhere, admin))
            gone = await feed.until("closing")
            written += [await change(elsewhere, admin) for _ in range(5)]
            second = await life.enter_async_context(host(store, first.port))
            await until(lambda: len(second.app[SERVICES].connections), 10)
            written += [await change(elsewhere, admin) for _ in range(20)]  # in the very turns in which it is taken in

            assert gone.data["reason"] == "restart"
            assert (await feed.expect("hello")).id == gone.id
            await until(lambda: feed.heard[-1].id == written[-1])
            assert [heard.id for heard in feed.heard if heard.event == "user.updated"] == written
            others = [heard.event for heard in feed.heard if heard.event != "user.updated"]
            assert others == ["hello", "closing", "hello"]


async def test_event_source_that_missed_more_than_is_kept_is_reset_once(browse: Browse) -> None:
    """Cut off for longer than the log keeps, it gets one reset, stands at the reset's id and continues from there."""
    cut = r"net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|INTERNET_DISCONNECTED)$"
    async with serve(event_retention_count=10) as server, browse(server.url, faults=cut) as page:
        admin = await server.admin()
        start = await change(server, admin)
        spent = await ticket(page, "admin", ADMIN_PASSWORD)
        feed = await Listener.event_source(page, f"/v1/feed?ticket={spent}&after={start}")
        await feed.expect("hello")
        before = await change(server, admin)
        assert (await feed.expect("user.updated")).id == before

        await page.context.set_offline(True)  # ends nothing that is open, but lets nothing come back
        for connection in server.app[SERVICES].connections:
            connection.abort()
        await until(lambda: not len(server.app[SERVICES].connections))
        lost = [await change(server, admin) for _ in range(30)]
        await page.context.set_offline(False)

        assert (await feed.expect("hello")).id == before
        reset = await feed.expect("reset")
        assert reset.id == lost[-1]
        assert reset.data == {"reason": "trimmed", "position": lost[-1], "resync": "/v1/users"}
        live = await change(server, admin)
        assert (await feed.expect("user.updated")).id == live

        server.app[SERVICES].connections.end_all(close_reasons.FEED_FAILED)
        assert (await feed.expect("closing")).id == live
        assert (await feed.expect("hello")).id == live
        live = await change(server, admin)
        assert (await feed.expect("user.updated")).id == live


async def test_event_source_of_a_quiet_member_does_not_age(browse: Browse) -> None:
    """Pings move its place and dispatch nothing, so that others' events, trimmed meanwhile, are not taken for missed."""
    async with serve(event_retention_count=10, sse_keepalive_s=0.05) as server, browse(server.url) as page:
        admin, ada = await server.admin(), await server.member("ada")
        spent = await ticket(page, "ada", PASSWORD)
        feed = await Listener.event_source(page, f"/v1/feed?ticket={spent}&after={await change(server, ada)}")
        await feed.expect("hello")
        own = await change(server, ada)
        assert (await feed.expect("user.updated")).id == own

        others = [await change(server, admin) for _ in range(30)]
        await until(lambda: str(server.app[SERVICES].hub.head) == others[-1])
        (connection,) = server.app[SERVICES].connections
        sent = connection.sent_bytes
        await until(lambda: connection.sent_bytes > sent)
        server.app[SERVICES].connections.end_all(close_reasons.FEED_FAILED)

        assert (await feed.expect("closing")).id == others[-1]
        others += [await change(server, admin) for _ in range(5)]
        await server.json("GET", "/v1/events", ada, params={"after": own}, status=410)
        assert (await feed.expect("hello")).id == others[-6]
        own = await change(server, ada)
        assert (await feed.expect("user.updated")).id == own


async def test_event_source_that_is_one_too_many_comes_back_until_there_is_room(browse: Browse) -> None:
    """A tab over the limit gets a reconnect time and uses it: when another was closed it misses nothing."""
    async with serve(max_connections_per_user=1) as server, browse(server.url) as page:
        ada = await server.member("ada")
        start = await change(server, ada)
        second_tab = await page.context.new_page()
        await second_tab.goto(server.url)
        spent = await ticket(page, "ada", PASSWORD)
        first = await Listener.event_source(page, f"/v1/feed?ticket={spent}&after={start}")
        await first.expect("hello")

        spent = await ticket(second_tab, "ada", PASSWORD)
        second = await Listener.event_source(second_tab, f"/v1/feed?ticket={spent}&after={start}")

        assert (await second.expect("hello")).id == start
        assert (await second.expect("closing")).data["reason"] == "too_many_connections"
        missed = await change(server, ada)
        assert (await first.expect("user.updated")).id == missed
        await page.close()
        assert (await second.until("user.updated")).id == missed
        live = await change(server, ada)
        assert (await second.expect("user.updated")).id == live


async def test_two_users_in_one_browser_keep_their_own_streams_through_a_restart(browse: Browse) -> None:
    """Two tabs, two users: after a restart each EventSource reconnects as its own user, whichever logged in last."""
    store = MemoryStore(now)
    async with host(store) as elsewhere, AsyncExitStack() as life:
        first = await life.enter_async_context(host(store))
        ada, bob = await elsewhere.member("ada"), await elsewhere.member("bob")
        async with browse(first.url, faults=r"net::ERR_CONNECTION_REFUSED$") as page:
            other_tab = await page.context.new_page()
            await other_tab.goto(first.url)
            adas = await Listener.event_source(page, f"/v1/feed?ticket={await ticket(page, 'ada', PASSWORD)}")
            await adas.expect("hello")
            bobs = await Listener.event_source(other_tab, f"/v1/feed?ticket={await ticket(other_tab, 'bob', PASSWORD)}")
            await bobs.expect("hello")

            await life.aclose()
            await life.enter_async_context(host(store, first.port))
            for user, feed in ((ada, adas), (bob, bobs)):
                await feed.until("closing")
                await feed.expect("hello")
                written = await change(elsewhere, user)
                heard = await feed.expect("user.updated")
                assert (heard.id, heard.data["subject"]) == (written, user.id)
