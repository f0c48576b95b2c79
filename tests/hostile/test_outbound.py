"""Addresses that a caller would like this service to fetch (ASVS 1.3.6): it takes names, and knows where they lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.config.settings import SettingsError
from tests.support.hostile import assert_serves, exchange, message
from tests.support.server import Login, Server, serve, settings_for_tests
from tests.support.upstream import Upstream, data, running


@pytest.fixture(scope="module")
async def inside() -> AsyncIterator[Upstream]:
    """A server on loopback that no client should reach."""
    async with running() as upstream:
        upstream.on("/", data({"secret": 1}))
        yield upstream


@pytest.fixture(scope="module")
async def target(inside: Upstream) -> AsyncIterator[Server]:
    async with serve(upstreams={"weather": inside.url("/weather")}) as server:
        yield server


@pytest.mark.parametrize(
    "source",
    [
        "http://{host}/", "HTTP://{host}/", "//{host}/", "http:{host}", "file:///etc/passwd", "gopher://{host}/", "dict://{host}/",
        "http://a@{host}/", "http://{host}@evil.example/", "http://evil.example%23@{host}/", "http://evil.example\\@{host}/",
        "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://0/",
        "http://%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1/", "http://127%E3%80%820.0.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/", "http://[fec0::1]/", "http://[fe80::1%25eth0]/", "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://224.0.0.1/", "http://localhost:22/",
        "weather/../", "weather%2F..%2F", "weather?x", "weather%23", "weather%00", "weather%0d%0aHost:%20evil", "Weather", "weather.",
        "weather@{host}", "weather:80", "../weather", "", ",", "weather,http://{host}/",
    ],
)  # fmt: skip
async def test_address_is_no_source(target: Server, ada: Login, inside: Upstream, source: str) -> None:
    """Names from a caller are compared with the names in the settings, and lead nowhere else."""
    path = f"/v1/aggregate?sources={source.format(host=f'127.0.0.1:{inside.port}')}"
    outcome = await exchange(target, message("GET", path, f"Authorization: Bearer {ada.access_token}"))

    # An address that aiohttp's parser does not take never reaches the question.
    assert outcome.status == 400
    assert inside.received == []
    await assert_serves(target)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "http://", "http:///x", "unix:/run/x"],
)
def test_upstream_is_reached_over_http(url: str) -> None:
    """A setting that leads anywhere but to a server of HTTP stops the start."""
    with pytest.raises(SettingsError, match="needs an http or https URL"):
        settings_for_tests(upstreams={"weather": url})


async def test_redirect_to_the_inside_is_not_followed(inside: Upstream) -> None:
    """An upstream that answers with a redirect is a failure in its place, and the redirect is not followed."""
    before = len(inside.received)
    async with running() as outside:
        name = outside.on("/", data({}, status=302, Location=inside.url("/")))
        async with serve(upstreams={"weather": name}) as server:
            async with asyncio.timeout(5):
                found = await server.json("GET", "/v1/aggregate?sources=weather", await server.member())

    assert found["results"]["weather"]["error"]["code"] == "redirect"
    assert len(inside.received) == before
