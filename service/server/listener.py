"""The socket that the service listens on."""

from __future__ import annotations

import socket
from typing import Final

_LOOK_AT: Final = 20


def open_listener(host: str, port: int, backlog: int) -> socket.socket | None:
    """A socket of both address families where `host` is `::`; None where aiohttp opens it by itself. Raises OSError.

    asyncio sets IPV6_V6ONLY, so on `::` it would listen on IPv6 alone.
    """
    if host != "::":
        return None
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)


def find_free_port(host: str, port: int) -> int | None:
    """The next port after a taken one that is free there; None where none of twenty is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for other in range(port + 1, min(port + _LOOK_AT, 65_535) + 1):
        try:
            socket.create_server((host, other), family=family).close()
        except OSError:
            continue
        return other
    return None


def reachable_host(host: str) -> str:
    """A host by which a client on this machine reaches what listens on `host`, bracketed for a URL and `Host`."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"[{host}]" if ":" in host else host
