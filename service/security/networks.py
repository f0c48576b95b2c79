"""Who holds an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def network_of(client: str) -> str:
    """What one subscriber holds: an IPv4 address, or the /64 of an IPv6 one, of which anybody has 2^64."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))
