"""An answer of many lines (NDJSON), sent as they are found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from service.http.services import CONTEXT
from service.http.view import View
from service.middleware.headers import finish_headers

# A reader that takes a little now and then must not keep a state of the store from being forgotten.
_LONGEST_S: Final = 3600

log = logging.getLogger("roster.exports")


async def send_lines(view: View, response: web.StreamResponse, pages: AsyncIterator[bytes], name: str) -> None:
    """Begin the answer and send every page, or cut the connection: an answer that has begun cannot become a refusal.

    Who takes nothing for `ROSTER_SLOW_CLIENT_TIMEOUT_S`, or more than an hour for all of it, is cut off. `name` is for the log line that
    tells of it.
    """
    await finish_headers(view.request, response)
    await response.prepare(view.request)
    context, transport = view.request[CONTEXT], view.request.transport
    context.streamed_bytes = 0
    try:
        async with asyncio.timeout(_LONGEST_S):
            async for page in pages:
                async with asyncio.timeout(view.services.settings.slow_client_timeout_s):
                    await response.write(page)
                context.streamed_bytes += len(page)
                await asyncio.sleep(0)  # writing to a socket that takes it all waits for nothing
            await response.write_eof()
    except ConnectionError:
        pass  # the client left
    except Exception as error:
        extra = {
            "request_id": context.request_id,
            "user": view.principal.user,
            "sent_bytes": context.streamed_bytes,
        }
        log.warning("%s cut off: %s", name, str(error) or "its reader is too slow", extra=extra)
        if transport is not None:
            transport.abort()
