"""Where the service listens, and by which host it is reached."""

from __future__ import annotations

import socket

import pytest

from service.server.listener import find_free_port, open_listener, reachable_host


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@needs_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_addresses_are_those_of_both_families(host: str) -> None:
    """A service on `::` takes connections over IPv4 and IPv6."""
    listener = open_listener("::", 0, 1)
    assert listener is not None
    with listener:
        socket.create_connection((host, listener.getsockname()[1]), 1).close()


@pytest.mark.parametrize(
    ("host", "reached"),
    [("::", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.1", "10.0.0.1")],
)
def test_host_of_a_url_has_brackets_where_it_needs_them(host: str, reached: str) -> None:
    """The banner and `roster health` name an address that a client can use."""
    assert reachable_host(host) == reached


def test_free_port_is_found() -> None:
    """After a port that is taken, the next free one is suggested."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = find_free_port("127.0.0.1", port)
        assert free is not None
        assert port < free <= port + 20
