"""One log line and one count for every request."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.context import Context
from service.keys import CONTEXT
from service.middleware.client_address import client_address
from service.middleware.request_id import request_ids
from service.settings import Network
from service.telemetry.access import AccessLog
from service.telemetry.metrics import RequestMetrics

_CLIENT_LEFT = 499  # nobody was there any more to be answered; the number is nginx's


def access(proxies: Sequence[Network], metrics: RequestMetrics, log: AccessLog | None) -> Middleware:
    """Begin the request's context, and tell how the request ended."""
    request_id = request_ids()

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        context = request[CONTEXT] = Context(request_id(request), client_address(request, proxies))
        status, sent = _CLIENT_LEFT, 0
        try:
            response = await handler(request)
            status = response.status
            body = response.body if isinstance(response, web.Response) else None
            sent = len(body) if isinstance(body, bytes) else 0
            return response
        except ConnectionError:
            raise  # the client went away
        except web.HTTPException as answer:
            status = answer.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            seconds = perf_counter() - began
            resource = request.match_info.route.resource
            route = "-" if resource is None else resource.canonical
            metrics.observe(request.method, route, status, seconds)
            if log is not None:
                principal = context.principal
                log.put(
                    request.method,
                    route,
                    status,
                    seconds,
                    sent if context.streamed_bytes is None else context.streamed_bytes,
                    context.request_id,
                    None if principal is None else principal.user,
                    context.client,
                )

    return tell
