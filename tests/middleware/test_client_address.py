"""The address of the client, as trusted proxies report it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.config.values import ForwardedHeader, Network
from service.middleware.client_address import ClientAddresses
from tests.support.server import Server, serve

OURS: tuple[Network, ...] = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.0/8"))


def found(peer: str | None, *forwarded: str, proxies: tuple[Network, ...] = OURS) -> str:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request: Any = SimpleNamespace(remote=peer, headers=headers)
    return ClientAddresses(proxies)(request)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # who is not trusted may say what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.66, 198.51.100.7"], "198.51.100.7"),  # what the client itself said stands to the left
        ("10.0.0.1", ["198.51.100.7, 10.0.0.3,10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.66", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),  # as Azure's gateway writes it
        ("10.0.0.1", ["203.0.113.66, 198.51.100.7:4711, 10.0.0.2:80"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ['"[2001:db8::1]:443"'], "2001:db8::1"),
        ("10.0.0.1", ['"198.51.100.7"'], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]x"], "10.0.0.1"),
        ("10.0.0.1", ["[::ffff:198.51.100.7]:443"], "198.51.100.7"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7,"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["2001:DB8:0:0::1"], "2001:db8::1"),
        ("fd00::1%eth0", ['2001:db8::1%"}{"user":"admin"}'], "2001:db8::1"),
        (None, ["198.51.100.7"], "unknown"),
        ("", ["198.51.100.7"], "unknown"),
    ],
)
def test_client_is_the_last_that_is_not_ours(peer: str | None, forwarded: list[str], client: str) -> None:
    """Read from the right, the first address that no trusted proxy has is the client's; what is none ends the search."""
    assert found(peer, *forwarded) == client


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["for=198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ['For="198.51.100.7:4711";proto=https'], "198.51.100.7"),
        ("10.0.0.1", ['proto=https; for="[2001:db8::1]:4711"'], "2001:db8::1"),
        ("10.0.0.1", ["for=203.0.113.66, for=198.51.100.7, for=10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["for=203.0.113.66", "for=198.51.100.7;by=10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["for=203.0.113.66, for=unknown"], "10.0.0.1"),
        ("10.0.0.1", ["for=203.0.113.66, proto=https"], "10.0.0.1"),
        ("10.0.0.1", ['for="_hidden, for=198.51.100.7'], "198.51.100.7"),  # a client's open quote swallows nothing
        ("10.0.0.1", ['for="x, for="[2001:db8::1]"'], "2001:db8::1"),
        ("10.0.0.1", ['for=198.51.100.7;host="x,for=203.0.113.66"'], "198.51.100.7"),  # what a client wrote as its Host
        ("10.0.0.1", ['for=198.51.100.7;host="x;for=203.0.113.66"'], "198.51.100.7"),
        ("10.0.0.1", ['for=198.51.100.7;host="a\\",for=203.0.113.66"'], "198.51.100.7"),
        ("192.0.2.1", ["for=198.51.100.7"], "192.0.2.1"),
    ],
)
def test_forwarded_is_read_where_it_is_chosen(peer: str, forwarded: list[str], client: str) -> None:
    """With `forwarded` the `for` of RFC 7239 is read from the right, quotes obeyed; what no address is ends the search."""
    headers = CIMultiDict([("X-Forwarded-For", "203.0.113.99"), *(("Forwarded", value) for value in forwarded)])
    request: Any = SimpleNamespace(remote=peer, headers=headers)

    assert ClientAddresses(OURS, "forwarded")(request) == client


@pytest.mark.parametrize(("header", "client"), [("x-forwarded-for", "192.0.2.1"), ("forwarded", "192.0.2.2")])
def test_one_header_is_read(header: ForwardedHeader, client: str) -> None:
    """Where a request has both headers, the chosen one counts, as a proxy passes the other one on unread."""
    headers = CIMultiDict([("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.2")])
    request: Any = SimpleNamespace(remote="10.0.0.1", headers=headers)

    assert ClientAddresses(OURS, header)(request) == client


@pytest.mark.parametrize(("trusted", "client"), [(True, "192.0.2.1"), (False, "unknown")])
def test_peer_of_a_unix_socket_is_believed_where_it_is_trusted(trusted: bool, client: str) -> None:
    """The peer of a Unix socket has no address: `unix` in the setting has its header read, without any network."""
    request: Any = SimpleNamespace(remote="", headers=CIMultiDict({"X-Forwarded-For": "192.0.2.1"}))

    assert ClientAddresses((), trust_socket=trusted)(request) == client


@pytest.mark.parametrize("proxies", [OURS, ()])
def test_mapped_peer_is_shown_as_ipv4(proxies: tuple[Network, ...]) -> None:
    """A client of an IPv6 socket that speaks IPv4 has its IPv4 address, with and without proxies."""
    assert found("::ffff:192.0.2.1", proxies=proxies) == "192.0.2.1"


def test_ignored_header_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A forwarded header of a peer that is no trusted proxy is ignored, with one line an hour that names the setting."""
    now = [10.0]
    addresses = ClientAddresses(OURS, clock=lambda: now[0])
    for elapsed, headers in ((0, {}), (0, {"X-Forwarded-For": "1.2.3.4"}), (60, {"X-Forwarded-For": "1.2.3.4"})):
        now[0] += elapsed
        request: Any = SimpleNamespace(remote="192.0.2.1", headers=CIMultiDict(headers))
        assert addresses(request) == "192.0.2.1"

    (line,) = caplog.records
    assert "ROSTER_TRUSTED_PROXIES" in line.message
    assert line.__dict__["peer"] == "192.0.2.1"
    now[0] += 3600
    again: Any = SimpleNamespace(remote="192.0.2.2", headers=CIMultiDict({"X-Forwarded-For": "1.2.3.4"}))
    addresses(again)
    assert len(caplog.records) == 2


def test_no_proxy_is_trusted_without_a_setting() -> None:
    """Where no proxy is trusted the peer is the client."""
    assert found("10.0.0.1", "198.51.100.7", proxies=()) == "10.0.0.1"


@given(st.lists(st.text(max_size=40) | st.ip_addresses().map(str), max_size=5))
def test_client_is_always_an_address(forwarded: list[str]) -> None:
    """Whatever is sent, the client's address is one, and fit for a log line."""
    client = found("10.0.0.1", *forwarded)

    assert str(ip_address(client)) == client
    assert "%" not in client


async def buckets(server: Server, *forwarded: str) -> list[int]:
    """The remaining limit after one request from each of these, in turn: a client has a limit of its own."""
    left = []
    for value in forwarded:
        async with server.request("GET", "/", headers={"X-Forwarded-For": value}) as answer:
            left.append(int(answer.headers["RateLimit"].split(";r=")[1].split(";")[0]))
    return left


async def test_limits_count_the_client_behind_the_proxy() -> None:
    """Behind a trusted proxy each client has its own limit, an IPv6 one with all of its /64; else they share the peer's."""
    async with serve(rate_limit="100/minute", trusted_proxies=("127.0.0.0/8",)) as server:
        assert await buckets(server, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [99, 99, 98]
        assert await buckets(server, "2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1") == [99, 98, 99]
    async with serve(rate_limit="100/minute") as server:
        assert await buckets(server, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [99, 98, 97]
