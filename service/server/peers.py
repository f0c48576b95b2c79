"""Connections by network, and half-sent request heads among them."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from service.config.values import Network
from service.security.networks import network_of, unwrapped
from service.telemetry.quiet import Quiet

log = logging.getLogger("roster")

MOST_HALF_SENT_HEADS: Final = 128
REASONS: Final = ("connections", "half_sent_heads", "head_too_large", "head_timeout")
_SPARE_DESCRIPTORS: Final = 16


class Peers:
    """Bounds what one network may hold open. Trusted proxies and Unix sockets are not bounded: they serve many clients.

    Args:
        most: connections of one network; 0: no bound.
        proxies: networks that are not bounded.
        count: called with the reason of each refused connection, one of `REASONS`.
        count_exhausted: called for each connection that takes one of the last file descriptors.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        most: int,
        proxies: Sequence[Network],
        count: Callable[[str], None],
        count_exhausted: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._proxies = proxies
        self._count = count
        self._count_exhausted = count_exhausted
        self._quiet = Quiet(clock)
        self._open: Counter[str] = Counter()
        self._heads: Counter[str] = Counter()

    def network_of(self, transport: asyncio.BaseTransport) -> str | None:
        """The network that the connection is counted for; None where it is not."""
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return None
        client = unwrapped(str(peer[0]))
        if self._proxies:
            address = ip_address(client.partition("%")[0])
            if any(address in network for network in self._proxies):
                return None
        return network_of(client)

    def add_connection(self, network: str | None, transport: asyncio.BaseTransport) -> bool:
        """Count a connection; False where the network has too many."""
        self._look_at_descriptors(transport)
        if network is None:
            return True
        if self._most and self._open[network] >= self._most:
            self._count("connections")
            if self._quiet.is_due("connections"):
                extra = {"network": network, "most": self._most}
                log.warning("too many connections of one network; new ones are closed", extra=extra)
            return False
        self._open[network] += 1
        return True

    def remove_connection(self, network: str | None) -> None:
        if network is not None:
            _decrement(self._open, network)

    def add_head(self, network: str | None) -> bool:
        """Count a request head that has arrived in part; False where the network has too many of them."""
        if network is None:
            return True
        if self._heads[network] >= MOST_HALF_SENT_HEADS:
            self._count("half_sent_heads")
            if self._quiet.is_due("heads"):
                extra = {"network": network, "most": MOST_HALF_SENT_HEADS}
                log.warning(
                    "too many half-sent request heads of one network; their connections are closed", extra=extra
                )
            return False
        self._heads[network] += 1
        return True

    def remove_head(self, network: str | None) -> None:
        if network is not None:
            _decrement(self._heads, network)

    def count_refused_head(self, status: HTTPStatus) -> None:
        """Count a head that was too long or too slow."""
        self._count("head_timeout" if status is HTTPStatus.REQUEST_TIMEOUT else "head_too_large")

    def _look_at_descriptors(self, transport: asyncio.BaseTransport) -> None:
        # The kernel gives the lowest free number. Connections after the last free one never reach this process.
        sock = transport.get_extra_info("socket")
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if sock is not None and limit > 0 and sock.fileno() >= limit - _SPARE_DESCRIPTORS:
            self._count_exhausted()
            if self._quiet.is_due("descriptors"):
                extra = {"limit": limit}
                log.error("file descriptors exhausted; new connections fail until others close", extra=extra)


def _decrement(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
