"""One process of several over a memory store that outlives it: what a restart looks like from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web

from service.app import create_app
from service.security.argon2_hasher import Argon2Hasher
from service.server.runner import Runner
from service.store.memory.store import MemoryStore
from tests.support.server import Server, settings_for_tests

# Nothing else uses ports of this address: between two processes the port stays free.
ADDRESS: Final = "127.0.0.3"


@asynccontextmanager
async def host(
    store: MemoryStore,
    port: int = 0,
    *,
    hasher: Argon2Hasher | None = None,
    **overrides: Any,
) -> AsyncIterator[Server]:
    """Serve this store on this port until the end of the block."""
    hasher = hasher or Argon2Hasher(workers=2, queue=64, memory_kib=64)
    runner = Runner(create_app(settings_for_tests(**overrides), store=store, hasher=hasher))
    await runner.setup()
    site = web.TCPSite(runner, ADDRESS, port)
    await site.start()
    async with aiohttp.ClientSession(f"http://{ADDRESS}:{site.port}") as session:
        try:
            yield Server(runner.app, site.port, session, ADDRESS)
        finally:
            await runner.cleanup()
