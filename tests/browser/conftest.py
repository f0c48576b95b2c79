"""Tests in a browser: left out where there is none, never silently, and never in CI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import browser
from tests.support.browser import Browse

if TYPE_CHECKING:  # it is an extra of its own
    from playwright.async_api import Browser

_LEFT_OUT: Final = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out where they cannot run; in CI they stay, and fail."""
    wanted = [item for item in items if item.get_closest_marker("browser")]
    if wanted and browser.missing() and os.environ.get("CI") != "true":
        config.stash[_LEFT_OUT] = len(wanted)
        config.hook.pytest_deselected(items=wanted)
        items[:] = [item for item in items if item not in wanted]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(f"{count} browser tests left out: {browser.missing()}")


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    if reason := browser.missing():
        pytest.fail(reason)
    async with browser.chromium() as running:
        yield running


@pytest.fixture
def browse(chromium: Browser) -> Browse:
    """Open a page: `async with browse(url) as page`. Nothing may go wrong in it."""
    return partial(browser.browse, chromium)
