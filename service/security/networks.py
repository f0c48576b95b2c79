"""The network of an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def unwrapped(client: str) -> str:
    """An IPv4 address that an IPv6 socket shows as `::ffff:192.0.2.1`, as IPv4; any other as it is."""
    if client[:7] != "::ffff:":
        return client
    try:
        mapped = getattr(ip_address(client.partition("%")[0]), "ipv4_mapped", None)
    except ValueError:
        return client
    return client if mapped is None else str(mapped)


def network_of(client: str, prefix: int = 64) -> str:
    """The network of one subscriber: an IPv4 address, or the /64 of an IPv6 one, which holds 2^64 addresses.

    Args:
        prefix: length of another IPv6 network, in bits.
    """
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, prefix), strict=False))
