"""How many requests an address, then a user, may make."""

from __future__ import annotations

from aiohttp import web

from service.context import Context
from service.middleware.step import Step
from service.security.limits import RequestLimit
from service.security.networks import network_of


def address_limit(limit: RequestLimit) -> Step:
    """Count the request for the network of its client."""

    def count(_: web.Request, context: Context) -> None:
        if context.operation is None or context.operation.limited:
            client = context.client
            context.used_s = limit.hit(network_of(client) if ":" in client else client, context.began)
            context.limit = limit

    return count


def user_limit(limit: RequestLimit) -> Step:
    """Count it for the user: one behind many addresses is still one."""

    def count(_: web.Request, context: Context) -> None:
        if context.principal is not None:
            used_s = limit.hit(context.principal.user, context.began)
            # The answer tells the tighter of the two.
            if used_s > context.used_s:
                context.limit, context.used_s = limit, used_s

    return count
