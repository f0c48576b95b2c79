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
    """Add the headers that depend neither on the user nor on the origin."""
    headers[_CONTENT_TYPE_OPTIONS] = "nosniff"
    headers[_REQUEST_ID] = context.request_id
    if hdrs.VARY not in headers:
        headers[hdrs.VARY] = "Origin"
    limit = context.limit
    if limit is not None:
        headers[_RATE_LIMIT] = limit.header(context.used_s)
        headers[_RATE_LIMIT_POLICY] = limit.terms


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers to a response that a view prepares by itself. Call it before `prepare`."""
    stamp(response.headers, request[CONTEXT])
    if hdrs.ORIGIN in request.headers:
        await request.app[SERVICES].grant_cors(request, response)
