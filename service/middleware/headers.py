"""The headers of every response, streams and errors included."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from service.http.context import Context
from service.http.services import CONTEXT, SERVICES

# istr is spelled in the right case once, not for every answer.
_CONTENT_TYPE_OPTIONS: Final = istr("X-Content-Type-Options")
_REQUEST_ID: Final = istr("X-Request-Id")
_RATE_LIMIT: Final = istr("RateLimit")
_RATE_LIMIT_POLICY: Final = istr("RateLimit-Policy")


def stamp(headers: CIMultiDict[str], context: Context) -> None:
    """Add what does not depend on who asks from where."""
    headers[_CONTENT_TYPE_OPTIONS] = "nosniff"
    headers[_REQUEST_ID] = context.request_id
    if hdrs.VARY not in headers:
        headers[hdrs.VARY] = "Origin"
    limit = context.limit
    if limit is not None:
        headers[_RATE_LIMIT] = limit.header(context.used_s)
        headers[_RATE_LIMIT_POLICY] = limit.terms


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """The same for an answer that a view begins by itself: call it before `prepare`."""
    stamp(response.headers, request[CONTEXT])
    if hdrs.ORIGIN in request.headers:
        await request.app[SERVICES].grant_cors(request, response)
