"""What every answer carries, streams and refusals included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from service.keys import CONTEXT
from service.middleware.cors import Grant

# istr is spelled in the right case once, not for every answer.
_CONTENT_TYPE_OPTIONS: Final = istr("X-Content-Type-Options")
_REQUEST_ID: Final = istr("X-Request-Id")
_RATE_LIMIT: Final = istr("RateLimit")
_RATE_LIMIT_POLICY: Final = istr("RateLimit-Policy")


def finish_headers(grant: Grant) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A hook for `on_response_prepare`; `grant` adds what CORS needs."""

    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers[hdrs.SERVER] = "roster"  # not which versions it runs on
        headers[_CONTENT_TYPE_OPTIONS] = "nosniff"
        if hdrs.VARY not in headers:
            headers[hdrs.VARY] = "Origin"
        try:
            context = request[CONTEXT]
        except KeyError:
            pass  # refused by aiohttp itself, before any middleware: `Expect` is
        else:
            headers[_REQUEST_ID] = context.request_id
            limit = context.limit
            if limit is not None:
                headers[_RATE_LIMIT] = f'"{limit.name}";r={context.remaining};t={context.reset_s}'
                headers[_RATE_LIMIT_POLICY] = limit.terms
        if hdrs.ORIGIN in request.headers:
            await grant(request, response)

    return finish
