"""Redirects are never followed, whatever a call asks for.

An upstream chosen by the operator could otherwise send us to loopback or to the inner network. ClientSession follows
by default and looks at a response only after its middlewares: one that raises cannot be forgotten by a caller.
"""

from __future__ import annotations

from typing import Final

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from service.outbound.failures import REDIRECT, Unusable

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


async def refuse_redirects(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Client middleware; raises `Unusable` for an answer that points elsewhere."""
    response = await handler(request)
    if response.status in _REDIRECTS:
        response.release()
        raise Unusable(REDIRECT)
    return response
