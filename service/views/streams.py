"""An answer that is an event stream: the same for the feed and for rooms."""

from __future__ import annotations

from aiohttp import web

from service.keys import AUTHENTICATOR, CONNECTIONS, CONTEXT, HUB
from service.middleware.headers import finish_headers
from service.realtime import closing
from service.realtime.eventstream import EventStream, Reading, Start
from service.views.base import View


async def serve_stream(view: View, reading: Reading, start: Start) -> web.StreamResponse:
    """Serve until the stream ends or the client leaves. To HEAD it answers with the headers alone."""
    request = view.request
    context = request[CONTEXT]
    stream = EventStream(request, view.principal, context.client)
    if request.method == "HEAD":
        return stream.response
    await finish_headers(request, stream.response)
    if context.turned_away is not None:
        stream.end(closing.TOO_MANY_REQUESTS, context.turned_away.retry_after_s)
    elif not request.app[HUB].is_current:
        stream.end(closing.FEED_FAILED)
    try:
        await stream.run(reading, start, request.app[CONNECTIONS], request.app[AUTHENTICATOR].confirm)
    finally:
        context.streamed_bytes = stream.sent_bytes
    return stream.response
