"""Which network an address belongs to."""

from __future__ import annotations

import pytest

from service.security.networks import network_of, unwrapped


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
        ("192.0.2.7:443", "192.0.2.7:443"),
        ("192.0.2.07", "192.0.2.07"),
    ],
)
def test_network_of_an_address(client: str, network: str) -> None:
    """An IPv4 address is its own network, an IPv6 address belongs to a /64, and any other text stands for itself."""
    assert network_of(client) == network


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("2001:db8:1:2::1", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ("2001:db8:2::", "2001:db8:2::/48"),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_network_of_another_length(client: str, network: str) -> None:
    """The length is that of IPv6 networks; an IPv4 address, also a mapped one, stays one address."""
    assert network_of(client, 48) == network


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1%eth0", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:", "::ffff:"),
        ("::ffff:192.0.2.256", "::ffff:192.0.2.256"),
        ("::ffff:0:192.0.2.1", "::ffff:0:192.0.2.1"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_mapped_address_is_unwrapped(client: str, shown: str) -> None:
    """An IPv4-mapped address becomes IPv4; text that only begins like one stays as it is."""
    assert unwrapped(client) == shown
