"""A page in Chromium, and everything that goes wrong in it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # it is an extra of its own
    from playwright.async_api import Browser, ConsoleMessage, Page, Response

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS: Final = (
    "--no-sandbox",  # as root, which a container often is
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Browse = Callable[..., AbstractAsyncContextManager["Page"]]


def missing() -> str | None:
    """The missing requirement; None if there is none."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return None if CHROMIUM else "there is no chromium, chromium-browser or google-chrome on PATH"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser that tests share: each opens a context of its own, with nothing of the others in it."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def browse(browser: Browser, url: str, *, faults: str | None = None, **context: Any) -> AsyncIterator[Page]:
    """Open a page; AssertionError at the end of the block if anything in it or its tabs failed or was refused.

    Args:
        faults: pattern of what may go wrong, where a test cuts the network; None for nothing.
        context: how the browser presents itself, as for playwright's `new_context`.
    """
    wrong: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):  # violations of the page's policy are reported here
            wrong.append(message.text)

    def on_response(response: Response) -> None:
        if not response.ok:
            wrong.append(f"{response.url}: {response.status}")

    tabs = await browser.new_context(**context)
    tabs.on("console", on_console)
    tabs.on("response", on_response)
    tabs.on("weberror", lambda error: wrong.append(str(error.error)))
    tabs.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
    try:
        page = await tabs.new_page()
        await page.goto(url)
        yield page
    finally:
        await tabs.close()
    unexpected = [text for text in wrong if faults is None or not re.search(faults, text)]
    assert not unexpected, "\n".join(unexpected)
