"""The pages as a browser shows them, under the policy they are served with."""

from __future__ import annotations

import pytest

from service.routes import operations
from tests.support.browser import Browse
from tests.support.server import Server

pytestmark = pytest.mark.browser


async def test_home_leads_to_the_documentation(server: Server, browse: Browse) -> None:
    """The first page opens without a complaint, and its link opens the documentation."""
    async with browse(server.url) as page:
        assert "Roster" in await page.locator("h1").inner_text()
        await page.get_by_role("link", name="API documentation").click()
        assert "Roster" in await page.locator("#swagger-ui .title").inner_text()


async def test_docs_show_every_operation(server: Server, browse: Browse) -> None:
    """Every operation of the description is on the page, and nothing of the page is refused by its policy."""
    async with browse(f"{server.url}/docs") as page:
        for _, method, operation in operations():
            shown = await page.locator(f"#operations-{operation.tag}-{operation.id}").inner_text()
            assert method.upper() in shown
            assert operation.summary in shown


async def test_operation_of_the_docs_can_be_opened_and_tried(server: Server, browse: Browse) -> None:
    """An operation opens, shows its description, and sends a request whose answer is shown."""
    async with browse(f"{server.url}/docs") as page:
        shown = page.locator("#operations-operations-get_liveness")
        await shown.locator(".opblock-summary-control").click()
        assert "Looks at nothing else" in await shown.locator(".opblock-description").inner_text()
        await shown.get_by_role("button", name="Execute").click()
        assert "200" in await shown.locator(".live-responses-table tbody .response-col_status").inner_text()


async def test_docs_are_dark_for_who_prefers_that(server: Server, browse: Browse) -> None:
    """The documentation takes the colours that the reader's browser asks for."""
    async with browse(f"{server.url}/docs", color_scheme="dark") as page:
        await page.locator(".opblock").first.wait_for()
        colour = await page.evaluate("getComputedStyle(document.querySelector('.swagger-ui')).backgroundColor")

        assert max(int(channel) for channel in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 64


async def test_page_does_not_run_what_was_written_into_it(server: Server, browse: Browse) -> None:
    """A script that is injected into a page does not run, and the page reports it."""

    async def write_into_it() -> None:
        async with browse(server.url) as page:
            await page.evaluate(
                "document.body.append(Object.assign(document.createElement('script'), {text: 'evil = 1'}))"
            )
            assert await page.evaluate("typeof evil") == "undefined"

    with pytest.raises(AssertionError, match="Content Security Policy"):
        await write_into_it()
