"""The feed from a page of another origin, as `examples/feed_cross_origin.html` follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from service.app import now
from service.http.services import SERVICES
from service.store.memory.store import MemoryStore
from tests.support.browser import Browse
from tests.support.hosts import host
from tests.support.server import ADMIN_PASSWORD
from tests.support.wait import until

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def another_origin() -> AsyncIterator[str]:
    """A web server for `examples/`, of another host and port than Roster's; yields its origin."""
    app = web.Application()
    app.router.add_static("/", EXAMPLES)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://localhost:{site.port}"
    finally:
        await runner.cleanup()


@pytest.mark.browser
async def test_page_of_another_origin_follows_through_a_restart(browse: Browse) -> None:
    """With a fresh ticket and `after=` it resumes, also when its access token is no longer valid, and loses nothing."""
    store = MemoryStore(now)
    # Requests fail while Roster is away, the page closes its EventSource, and the first token after the restart is refused.
    faults = r"net::ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|ABORTED)$|: 401$|\(Unauthorized\)$"
    async with another_origin() as origin, host(store) as elsewhere, AsyncExitStack() as life:
        first = await life.enter_async_context(host(store, cors_origins=[origin]))
        admin = await elsewhere.admin()

        async def change(name: str) -> str:
            user = await elsewhere.json("PATCH", f"/v1/users/{admin.id}", admin, json={"name": name})
            return f"{admin_epoch}-{user['version']}"

        admin_epoch = (await elsewhere.head(admin)).partition("-")[0]
        async with browse(f"{origin}/feed_cross_origin.html", faults=faults) as page:
            await page.evaluate("Math.random = () => 0")  # it waits for a second, not for up to three

            async def shown() -> list[str]:
                ids: list[str] = await page.evaluate(
                    "[...document.querySelectorAll('#events li')].map(e => e.dataset.id)"
                )
                return ids

            await page.fill("[name=api]", first.url)
            await page.fill("[name=login]", "admin")
            await page.fill("[name=password]", ADMIN_PASSWORD)
            await page.click("button")
            await page.get_by_text("open", exact=True).wait_for()
            written = [await change("before")]
            await page.locator("li").wait_for()

            await life.aclose()
            written.append(await change("away"))
            await page.get_by_text("reconnecting").wait_for()
            key = "another secret of tests, of 32 bytes at least"
            async with host(store, first.port, cors_origins=[origin], jwt_secret=key) as second:
                await until(lambda: len(second.app[SERVICES].connections), 10)
                written.append(await change("after"))
                await page.locator("li").nth(2).wait_for()
                assert await shown() == written

                await elsewhere.json("DELETE", "/v1/auth/sessions", admin, status=204)
                await page.get_by_text("closed: session_ended").wait_for()
