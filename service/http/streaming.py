"""Streamed responses: event streams, NDJSON lines, and exports with their audit entry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeVar

from aiohttp import web

from service.domain.users.bulk_export import Exported, Sent, record_export
from service.http.services import CONTEXT
from service.http.view import View
from service.middleware.headers import finish_headers
from service.realtime import close_reasons
from service.realtime.event_stream import EventStream, Reading, Start

T = TypeVar("T")

# A reader that takes a little now and then must not keep a state of the store from being forgotten.
_LONGEST_S: Final = 3600

log = logging.getLogger("roster.exports")


async def serve_stream(view: View, reading: Reading, start: Start) -> web.StreamResponse:
    """Serve until the stream ends or the client leaves. To HEAD it answers with the headers alone."""
    request, services = view.request, view.services
    context = request[CONTEXT]
    stream = EventStream(request, view.principal, context.client)
    if request.method == "HEAD":
        return stream.response
    await finish_headers(request, stream.response)
    if context.rate_limited is not None:
        stream.end(close_reasons.TOO_MANY_REQUESTS, context.rate_limited.retry_after_s)
    elif not services.hub.is_current:
        stream.end(close_reasons.FEED_FAILED)
    try:
        await stream.run(reading, start, services.connections, services.authenticator.revalidate)
    finally:
        context.streamed_bytes = stream.sent_bytes
    return stream.response


async def stream_lines(view: View, response: web.StreamResponse, pages: AsyncIterator[bytes], name: str) -> None:
    """Start the response and send every page. An error after the start aborts the connection, because the status is sent.

    A client that reads nothing for `ROSTER_SLOW_CLIENT_TIMEOUT_S`, or needs more than an hour in all, is disconnected. `name` is the
    kind of export in the log message.
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


async def send_export(
    view: View,
    response: web.StreamResponse,
    pages: AsyncIterator[Sequence[T]],
    line_of: Callable[[T], bytes],
    end: Callable[[int], bytes],
    action: Exported,
    name: str,
) -> None:
    """Send every item as a line, and the line that `end` makes of their number, as `stream_lines` does; and record what was sent,
    however the sending ends."""
    sent = Sent()

    async def lines() -> AsyncIterator[bytes]:
        async for page in pages:
            sent.count += len(page)
            yield b"".join(map(line_of, page))
        yield end(sent.count)
        sent.complete = True

    try:
        await stream_lines(view, response, lines(), name)
    finally:
        # A task: the client may have left, which cancels this one.
        _ = view.services.tasks.start(_record(view, action, sent), "record an export")


async def _record(view: View, action: Exported, sent: Sent) -> None:
    try:
        await record_export(view.services.store, view.by, view.caller.id, action, sent)
    except Exception:
        extra = {"user": view.principal.user, "action": action, "count": sent.count}
        log.exception("cannot write an export to the audit", extra=extra)
