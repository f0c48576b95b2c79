"""Who is at the other end, behind the proxies that are trusted."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.keys import CLIENT
from service.settings import Network


def client_address(proxies: Sequence[Network]) -> Middleware:
    """Find the client's address: the last one in `X-Forwarded-For` that is not a trusted proxy's."""

    @web.middleware
    async def find(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.remote or "unknown"
        request[CLIENT] = _behind(peer, request, proxies) if proxies else peer
        return await handler(request)

    return find


def _behind(peer: str, request: web.Request, proxies: Sequence[Network]) -> str:
    # Several headers are one list (RFC 9110, 5.3). Each proxy adds at the right, so only from there can it be trusted.
    chain = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    client = peer
    for hop in [peer, *reversed(chain)]:
        try:
            address = ip_address(hop.strip())
        except ValueError:
            break
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        client = str(address)
        if not any(address in network for network in proxies):
            break
    return client
