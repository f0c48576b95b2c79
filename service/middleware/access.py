"""One log line and one count for every request."""

from __future__ import annotations

import asyncio
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler

from service.keys import ACCESS_LOG, CLIENT, METRICS, PRINCIPAL, REQUEST_ID, STREAMED_BYTES
from service.telemetry.access import Served

_CLIENT_LEFT = 499  # nobody was there any more to be answered; the number is nginx's


@web.middleware
async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = perf_counter()
    status, sent = _CLIENT_LEFT, 0
    try:
        response = await handler(request)
        status = response.status
        if isinstance(response, web.Response):
            body = response.body
            sent = len(body) if isinstance(body, (bytes, bytearray)) else response.content_length or 0
        return response
    except asyncio.CancelledError:
        raise
    except BaseException:
        status = 500
        raise
    finally:
        app = request.app
        resource = request.match_info.route.resource
        route = "-" if resource is None else resource.canonical
        seconds = perf_counter() - began
        app[METRICS].requests.observe(request.method, route, status, seconds)
        log = app[ACCESS_LOG]
        if log is not None:
            principal = request.get(PRINCIPAL)
            log.put(
                Served(
                    request.method,
                    route,
                    status,
                    seconds,
                    request.get(STREAMED_BYTES, sent),
                    request[REQUEST_ID],
                    principal and principal.caller.id,
                    request[CLIENT],
                )
            )
