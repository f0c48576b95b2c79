"""How many requests an address, then a user, may make."""

from __future__ import annotations

import math
from time import monotonic

from aiohttp import web

from service.context import Context
from service.domain.errors import TooMany
from service.middleware.admission import Step
from service.security.limits import RequestLimit, network_of


def address_limit(limit: RequestLimit) -> Step:
    """Count the request for the network of its client."""

    def count(_: web.Request, context: Context) -> None:
        if context.operation is None or context.operation.limited:
            client = context.client
            _hit(limit, network_of(client) if ":" in client else client, context)

    return count


def user_limit(limit: RequestLimit) -> Step:
    """Count it for the user: one behind many addresses is still one."""

    def count(_: web.Request, context: Context) -> None:
        if context.principal is not None:
            _hit(limit, context.principal.user, context)

    return count


def _hit(limit: RequestLimit, key: str, context: Context) -> None:
    """Count, and have the answer tell the tighter limit: the one that refuses, above all."""
    try:
        remaining, reset_s = limit.hit(key, monotonic())
    except TooMany as error:
        context.limit, context.remaining, context.reset_s = limit, 0, math.ceil(error.retry_after_s)
        if context.operation is None or not context.operation.is_feed:
            raise
        # EventSource never comes back from a 429 (WHATWG HTML, 9.2.3): the stream itself says when to.
        context.turned_away = error
        return
    if context.limit is None or remaining < context.remaining:
        context.limit, context.remaining, context.reset_s = limit, remaining, reset_s
