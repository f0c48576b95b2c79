"""The feed as an EventSource of a browser sees it behind nginx, over TLS and HTTP/2."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from service.app import now
from service.store.memory.store import MemoryStore
from tests.browser.listener import Listener, ticket
from tests.support.browser import Browse
from tests.support.hosts import host
from tests.support.proxies import run_proxy
from tests.support.server import ADMIN_PASSWORD
from tests.support.wait import until

if TYPE_CHECKING:  # it is an extra of its own
    from playwright.async_api import Response


@pytest.mark.browser
@pytest.mark.proxy("nginx")
async def test_event_source_behind_nginx_survives_a_restart(browse: Browse) -> None:
    """It reconnects while Roster is away, is answered 200 by nginx, and resumes without a loss when Roster is back."""
    store = MemoryStore(now)
    answers: list[int] = []
    async with run_proxy("nginx") as proxy, host(store) as elsewhere, AsyncExitStack() as life:
        await life.enter_async_context(proxy.host(store, public_url=proxy.url))
        admin = await elsewhere.admin()

        async def change(name: str) -> None:
            await elsewhere.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": name})

        def note(answer: Response) -> None:
            if "/v1/feed" in answer.url:
                answers.append(answer.status)

        async with browse(proxy.url, ignore_https_errors=True) as page:
            spent = await ticket(page, "admin", ADMIN_PASSWORD)
            page.on("response", note)
            feed = await Listener.event_source(page, f"/v1/feed?ticket={spent}")
            await feed.expect("hello")
            await life.aclose()
            await feed.until("closing")
            await until(lambda: len(answers) == 2, 10)  # nginx has answered once
            await change("away")
            async with proxy.host(store, public_url=proxy.url):
                await feed.expect("hello")
                assert (await feed.expect("user.updated")).data["user"]["name"] == "away"
                await change("back")
                assert (await feed.expect("user.updated")).data["user"]["name"] == "back"
    assert set(answers) == {200}
