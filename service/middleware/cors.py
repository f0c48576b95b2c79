"""CORS through aiohttp-cors, plus the cases that it lacks: `Vary`, 404, 405, and views without the requested method."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import aiohttp_cors
from aiohttp import hdrs, web

from service.http.services import Grant
from service.telemetry.quiet import Quiet

log = logging.getLogger("roster")

_MOST_SHOWN: Final = 200

_EXPOSED: Final = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Roster-Position",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)
_ALLOWED: Final = (
    "Authorization",
    "Cache-Control",  # polyfills of EventSource send it
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Request-Id",
)


class CorsMixin(aiohttp_cors.CorsViewMixin):
    """Base of every view. Without the override, a method that the view lacks drops the connection (aiohttp-cors #177)."""

    @classmethod
    def get_request_config(cls, request: web.Request, request_method: str) -> Mapping[str, Any]:
        try:
            config: Mapping[str, Any] = super().get_request_config(  # type: ignore[no-untyped-call]  # the library is not
                request, request_method
            )
        except KeyError:
            if request.method == hdrs.METH_OPTIONS:
                raise  # a preflight for a method that is not there: the library answers 403
            defaults = request.config_dict[aiohttp_cors.APP_CONFIG_KEY].defaults
            return cast(Mapping[str, Any], defaults)
        return config


def is_preflight(request: web.Request) -> bool:
    """Whether a request is a CORS preflight; any other OPTIONS is an ordinary request."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


class _Refusals:
    """Logs refused preflights: once per origin until a minute without one, and at most one line a second."""

    def __init__(self) -> None:
        self._quiet = Quiet()
        self._next_at = 0.0

    def log(self, origin: str) -> None:
        now, shown = time.monotonic(), origin[:_MOST_SHOWN]
        if now >= self._next_at and self._quiet.is_due(shown):
            self._next_at = now + 1.0
            extra = {"origin": shown, "setting": "ROSTER_CORS_ORIGINS"}
            log.warning("preflight refused: the origin is not allowed", extra=extra)


def set_up_cors(app: web.Application, origins: Sequence[str]) -> Grant:
    """Allow these origins, without credentials, on every route. Call it after all routes were added.

    Returns the function to call for the response to each request with an `Origin`.
    """
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]  # the library is not typed
        allow_credentials=False, allow_headers=_ALLOWED, expose_headers=_EXPOSED, allow_methods="*", max_age=600
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    for route in list(app.router.routes()):
        if isinstance(route.handler, type) and issubclass(route.handler, CorsMixin):
            cors.add(route)
    # Its hook looks through the router for each answer; only one to a request with an Origin can need it.
    library_hook = app.on_response_prepare.pop()
    allowed, refusals = frozenset(origins), _Refusals()

    async def grant(request: web.Request, response: web.StreamResponse) -> None:
        await library_hook(request, response)
        origin = request.headers[hdrs.ORIGIN]
        missing = hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in response.headers
        if origin not in allowed and is_preflight(request):
            refusals.log(origin)
        if origin in allowed and missing and not is_preflight(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin  # 404 and 405 have no route with CORS
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ",".join(_EXPOSED)

    return grant
