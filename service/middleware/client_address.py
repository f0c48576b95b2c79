"""Who is at the other end, behind the proxies that are trusted."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from aiohttp import web

from service.setting_values import Network


def client_address(request: web.Request, proxies: Sequence[Network]) -> str:
    """The last address in `X-Forwarded-For` that is not a trusted proxy's; the peer's where that is none."""
    peer = request.remote or "unknown"
    if not proxies:
        return peer
    # Several headers are one list (RFC 9110, 5.3). Each proxy adds at the right, so only from there can it be trusted.
    chain = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    client = peer
    for hop in [peer, *reversed(chain)]:
        try:
            # Without its zone, which means something on one host only and could hold anything.
            address = ip_address(hop.strip().partition("%")[0])
        except ValueError:
            break
        address = getattr(address, "ipv4_mapped", None) or address
        client = str(address)
        if not any(address in network for network in proxies):
            break
    return client
