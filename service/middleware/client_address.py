"""The address of the client, as trusted proxies report it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from aiohttp import web
from multidict import istr

from service.config.values import ForwardedHeader, Network
from service.security.networks import unwrapped

log = logging.getLogger("roster")

_WARN_EVERY_S: Final = 3600.0


class ClientAddresses:
    """Finds the last address in the forwarded header that is not a trusted proxy; else the address of the peer.

    Only one header is read. Most proxies set one header, and forward the other as the client sent it.

    Args:
        proxies: networks of trusted proxies.
        header: the header that these proxies set.
        trust_socket: whether the peer of a Unix socket, which has no address, is a trusted proxy.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        proxies: Sequence[Network],
        header: ForwardedHeader = "x-forwarded-for",
        *,
        trust_socket: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proxies = proxies
        self._header = istr("Forwarded" if header == "forwarded" else "X-Forwarded-For")
        self._hops = _forwarded_hops if header == "forwarded" else _x_forwarded_for_hops
        self._trust_socket = trust_socket
        self._clock = clock
        self._silent_until = 0.0

    def __call__(self, request: web.Request) -> str:
        peer = request.remote
        if not peer:
            if not self._trust_socket:
                return "unknown"
            client = "unknown"
        else:
            # Without a colon the peer is an IPv4 address: this is the path of most requests.
            client = unwrapped(peer).partition("%")[0] if ":" in peer else peer
            if not self._proxies or not self._is_trusted(client):
                if self._header in request.headers:
                    self._warn(client)
                return client
        for hop in self._hops(request.headers.getall(self._header, ())):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, client: str | IPv4Address | IPv6Address) -> bool:
        address = _address(client) if isinstance(client, str) else client
        return address is not None and any(address in network for network in self._proxies)

    def _warn(self, peer: str) -> None:
        now = self._clock()
        if now < self._silent_until:
            return
        self._silent_until = now + _WARN_EVERY_S
        extra = {"peer": peer, "header": str(self._header)}
        log.warning(
            "forwarded header ignored: its peer is not in ROSTER_TRUSTED_PROXIES; all clients of that peer "
            "share one rate limit",
            extra=extra,
        )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of one hop, without quotes, brackets and port; None where the hop is no address."""
    host = text.strip()
    if host[:1] == '"' and host[-1:] == '"':
        host = host[1:-1]
    if host[:1] == "[":
        host, _, port = host[1:].partition("]")
        if port and port[0] != ":":
            return None
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        # Without the zone, which means something on one host only and could hold anything.
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _x_forwarded_for_hops(values: Sequence[str]) -> Iterator[str]:
    # Several headers are one list (RFC 9110, 5.3). Each proxy adds at the right, so only from there can it be trusted.
    for value in reversed(values):
        yield from reversed(value.split(","))


def _forwarded_hops(values: Sequence[str]) -> Iterator[str]:
    """The `for` of each element (RFC 7239, 4), from the right; empty for an element without one."""
    for value in reversed(values):
        for element in _split_from_right(value, ","):
            pairs = (pair.partition("=") for pair in _split_from_right(element, ";"))
            yield next((node for name, _, node in pairs if name.strip().lower() == "for"), "")


def _split_from_right(text: str, separator: str) -> Iterator[str]:
    """Split outside of quotes. From the right, as an open quote that a client wrote must not swallow what a proxy added."""
    end, quoted = len(text), False
    for place in range(len(text) - 1, -1, -1):
        if text[place] == '"':
            before = text[:place] if place and text[place - 1] == "\\" else ""
            if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
                quoted = not quoted
        elif text[place] == separator and not quoted:
            yield text[place + 1 : end]
            end = place
    yield text[:end]
