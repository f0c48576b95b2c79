"""An answer that is an event stream: the same for the feed and for rooms."""

from __future__ import annotations

from aiohttp import web

from service.http.services import CONTEXT, SERVICES
from service.http.view import View
from service.middleware.headers import finish_headers
from service.realtime import close_reasons
from service.realtime.event_stream import EventStream, Reading, Start


async def serve_stream(view: View, reading: Reading, start: Start) -> web.StreamResponse:
    """Serve until the stream ends or the client leaves. To HEAD it answers with the headers alone."""
    request = view.request
    context = request[CONTEXT]
    stream = EventStream(request, view.principal, context.client)
    if request.method == "HEAD":
        return stream.response
    await finish_headers(request, stream.response)
    if context.rate_limited is not None:
        stream.end(close_reasons.TOO_MANY_REQUESTS, context.rate_limited.retry_after_s)
    elif not request.app[SERVICES].hub.is_current:
        stream.end(close_reasons.FEED_FAILED)
    try:
        await stream.run(reading, start, request.app[SERVICES].connections, request.app[SERVICES].authenticator.confirm)
    finally:
        context.streamed_bytes = stream.sent_bytes
    return stream.response
