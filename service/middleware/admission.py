"""What has to be settled before a view is called, as plain steps: a middleware for each would cost 0.8 µs more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.context import Context
from service.keys import CONTEXT

Step = Callable[[web.Request, Context], Awaitable[None] | None]
"""Lets a request pass or raises; returns what has to be waited for, if anything has."""


def admission(*steps: Step) -> Middleware:
    """Take the steps in order, then call the view."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        context = request[CONTEXT]
        operations = getattr(request.match_info.handler, "operations", None)
        if operations is not None:
            context.operation = operations.get(request.method)
        for step in steps:
            waiting = step(request, context)
            if waiting is not None:
                await waiting
        return await handler(request)

    return admit
