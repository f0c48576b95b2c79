"""Clients of a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from roster_client import AsyncRoster, Login

from tests.support.server import ADMIN_PASSWORD, Server


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[AsyncRoster]:
    """A client that is logged in as the administrator."""
    async with AsyncRoster(server.url, Login("admin", ADMIN_PASSWORD)) as roster:
        yield roster
