"""The pipeline that every request passes, from the parsed head to the log line.

Each concern is a plain function in its own file. As middlewares of aiohttp, each with its own request key, they cost 11 µs more
per request (of 55, measured without a socket).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from aiohttp import hdrs, web

from service.http.context import Context
from service.http.services import CONTEXT, SERVICES, Endpoint, Serve
from service.middleware.headers import stamp
from service.middleware.problems import respond_to_error
from service.middleware.request_id import request_ids
from service.middleware.step import Step
from service.security.rate_limits import LimitReached
from service.telemetry.access import AccessLog
from service.telemetry.metrics import RequestMetrics

_CLIENT_LEFT = 499  # the client disconnected before the response; nginx uses the same number


def pipeline(
    client_address: Callable[[web.Request], str],
    steps: Sequence[Step],
    metrics: RequestMetrics,
    log: AccessLog | None,
) -> Serve:
    """Build the function that sets the request id, runs the steps and the view, maps errors to problems, adds headers, and logs.

    `View.__await__` calls the function for every request. The view of `AnyPath` matches unknown paths.
    """
    request_id = request_ids()
    templates: dict[web.AbstractRoute, str] = {}

    async def serve(request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        began = perf_counter()
        context = request[CONTEXT] = Context(began, request_id(request), client_address(request))
        route = request.match_info.route
        status = _CLIENT_LEFT
        sent = 0
        try:
            try:
                context.operation = endpoint.operations.get(request.method)
                for step in steps:
                    try:
                        waiting = step(request, context)
                    except LimitReached as reached:
                        if context.operation is None or not context.operation.is_feed:
                            # `RateLimit` describes the limit that refuses the request, not one with a remainder.
                            context.limit, context.used_s = reached.limit, reached.used_s
                            raise
                        # EventSource does not reconnect after 429 (WHATWG HTML, 9.2.3). The stream itself names the time to.
                        context.rate_limited = reached
                    else:
                        if waiting is not None:
                            await waiting
                response = await endpoint.respond()
            except Exception as error:
                response = respond_to_error(request, context, error)
            status = response.status
            if not response.prepared:
                stamp(response.headers, context)
                if hdrs.ORIGIN in request.headers:
                    await request.app[SERVICES].grant_cors(request, response)
                if request.app[SERVICES].connections.shutting_down:
                    # RFC 9112, 9.6: after `Connection: close` a client sends nothing more on the connection.
                    response.force_close()
                body = response.body if isinstance(response, web.Response) else None
                sent = len(body) if isinstance(body, bytes) else 0
            return response
        finally:
            seconds = perf_counter() - began
            template = templates.get(route) or templates.setdefault(route, _template(route, endpoint))
            metrics.observe(request.method, template, status, seconds)
            if log is not None:
                principal = context.principal
                log.put(
                    request.method,
                    template,
                    status,
                    seconds,
                    sent if context.streamed_bytes is None else context.streamed_bytes,
                    context.request_id,
                    context.authenticated_user if principal is None else principal.user,
                    context.client,
                    context.problem,
                )

    return serve


def _template(route: web.AbstractRoute, endpoint: Endpoint) -> str:
    """The path template of the route; `-` for an unknown path."""
    return route.resource.canonical if route.resource is not None and endpoint.operations else "-"
