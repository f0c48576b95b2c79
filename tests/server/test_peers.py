"""Connections by network."""

from __future__ import annotations

import resource
from collections.abc import Callable
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from service.server.peers import Peers


def transport(peer: object, descriptor: int = 5) -> Any:
    known: dict[str, object] = {"peername": peer, "socket": SimpleNamespace(fileno=lambda: descriptor)}
    return SimpleNamespace(get_extra_info=known.get)


def peers(count: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = lambda: 0.0) -> Peers:
    return Peers(1, (ip_network("10.0.0.0/8"),), count, lambda: count("exhausted"), clock)


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::/64"),
        (("10.0.0.1", 1), None),
        (("::ffff:10.0.0.1", 1, 0, 0), None),
        ("", None),
        (None, None),
    ],
)
def test_connections_are_counted_by_network(peer: object, network: str | None) -> None:
    """A connection counts for its IPv4 address or IPv6 /64; trusted proxies and Unix sockets do not count."""
    assert peers().network_of(transport(peer)) == network


def test_exhausted_descriptors_are_one_line_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """Connections that take the last descriptors are counted, and logged again only after a minute without one."""
    counted: list[str] = []
    now = [100.0]
    tested = peers(counted.append, lambda: now[0])
    last = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
    for elapsed in (0, 50, 50, 61):
        now[0] += elapsed
        tested.add_connection(None, transport("", last))
    tested.add_connection(None, transport(""))

    assert counted == ["exhausted"] * 4
    assert len(caplog.records) == 2
