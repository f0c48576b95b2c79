"""How many requests an address, then a user, may make."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from service.keys import ADDRESS_LIMIT, ALLOWANCE, CLIENT, PRINCIPAL, USER_LIMIT, Allowance
from service.operations import Operation
from service.security.limits import network_of


@web.middleware
async def address_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    limit = request.app[ADDRESS_LIMIT]
    if limit is not None and _counts(request):
        client = request[CLIENT]
        key = network_of(client) if ":" in client else client
        request[ALLOWANCE] = Allowance("address", limit.terms, *limit.hit(key))
    return await handler(request)


@web.middleware
async def user_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    limit = request.app[USER_LIMIT]
    principal = request.get(PRINCIPAL)
    if limit is not None and principal is not None:
        remaining, reset_s = limit.hit(principal.caller.id)
        if remaining < request[ALLOWANCE].remaining:
            request[ALLOWANCE] = Allowance("user", limit.terms, remaining, reset_s)
    return await handler(request)


def _counts(request: web.Request) -> bool:
    operation: Operation | None = getattr(request.match_info.handler, "operations", {}).get(request.method)
    return operation is None or operation.limited
