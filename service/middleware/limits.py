"""Rate limits per client address, per user, and for writes per user."""

from __future__ import annotations

from aiohttp import web

from service.domain.errors import TooMany
from service.http.context import Context
from service.middleware.step import Step
from service.security.networks import network_of
from service.security.rate_limits import LimitReached, RequestLimit


def address_limit(limit: RequestLimit) -> Step:
    """Count the request for the network of its client."""

    def count(_: web.Request, context: Context) -> None:
        if context.operation is None or context.operation.limited:
            client = context.client
            context.used_s = limit.hit(network_of(client) if ":" in client else client, context.began)
            context.limit = limit

    return count


def user_limit(limit: RequestLimit) -> Step:
    """Count the request for the user, whatever its address."""

    def count(_: web.Request, context: Context) -> None:
        if context.principal is not None:
            used_s = limit.hit(context.principal.user, context.began)
            # The response shows the tighter of the two.
            if used_s > context.used_s:
                context.limit, context.used_s = limit, used_s

    return count


def write_limit(limit: RequestLimit) -> Step:
    """Count requests of a user that change data. Sessions and credentials do not count: logging out must always work."""

    def count(_: web.Request, context: Context) -> None:
        operation, principal = context.operation, context.principal
        if operation is None or principal is None or not operation.writes or operation.scope == "sessions":
            return
        try:
            limit.hit(principal.user, context.began)
        except LimitReached as reached:
            # `RateLimit` shows the limit of requests, and this is another one.
            raise TooMany(
                reached.retry_after_s, "Too many writes of this account; come back later, or import many users at once."
            ) from None

    return count
