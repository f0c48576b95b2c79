from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession

from service import __version__
from service.config.load import load
from service.config.settings import SettingsError
from service.outbound.failures import TIMEOUT, TLS, failure
from service.outbound.session import open_session
from tests.support.certificates import ONE, TWO, server_tls
from tests.support.upstream import Upstream, data, endless, raw, running, when
from tests.support.wait import until


class Names:
    """Every name is the upstream's."""

    def __init__(self, upstream: Upstream) -> None:
        self.asked: list[str] = []
        self._port = upstream.port

    def __call__(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self._port))]


async def test_calls_say_who_calls(session: ClientSession, upstream: Upstream) -> None:
    """Each call names the service and its version, and carries the request id that it was given."""
    async with session.get(upstream.on("/", data(1)), headers={"X-Request-Id": "r-1"}):
        pass

    headers = upstream.received[0].headers
    assert headers["User-Agent"] == f"roster/{__version__}"
    assert headers["X-Request-Id"] == "r-1"


async def test_cookies_are_not_kept(upstream: Upstream) -> None:
    """A cookie that one call was given does not go out with the next."""
    upstream.on("/", data(1, Set_Cookie="who=me; Path=/"))
    async with open_session(load(), lookup=Names(upstream)) as session:
        for _ in range(2):
            async with session.get(f"http://upstream.example:{upstream.port}/") as response:
                assert "who" in response.cookies

    assert "Cookie" not in upstream.received[1].headers


async def test_environment_names_no_proxy(
    session: ClientSession, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment does not get our calls."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async with session.get(upstream.on("/", data(1))) as response:
        assert response.status == 200


async def test_connections_are_kept_and_used_again(session: ClientSession, upstream: Upstream) -> None:
    """Calls one after the other share a connection."""
    url = upstream.on("/", data(1))
    for _ in range(3):
        async with session.get(url) as response:
            await response.read()

    assert upstream.connections == 1


async def test_names_are_looked_up_once(upstream: Upstream) -> None:
    """A name that was looked up is remembered for further connections."""
    names = Names(upstream)
    upstream.on("/", data(1))
    async with open_session(load(), lookup=names) as session:
        for _ in range(2):
            async with session.get(f"http://upstream.example:{upstream.port}/", headers={"Connection": "close"}):
                pass

    assert names.asked == ["upstream.example"]
    assert len(upstream.received) == 2


async def test_idempotent_calls_are_tried_again(session: ClientSession, upstream: Upstream) -> None:
    """The session repeats idempotent calls as often as settings say, and no others."""
    url = upstream.on("/", raw(b""))
    for method in ("GET", "POST"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.request(method, url)

    assert [request.method for request in upstream.received] == ["GET", "GET", "GET", "POST"]


async def test_pool_bounds_connections_to_a_host(upstream: Upstream) -> None:
    """No more connections than allowed are made to a host; a caller that waits too long for one gets an error."""
    gate = asyncio.Event()
    url = upstream.on("/", when(gate, data(1)))
    settings = load(outbound_connections_per_host=2, outbound_connect_timeout_s=0.5, outbound_retries=0)

    async with open_session(settings) as session:
        held = [asyncio.create_task(_status(session, url)) for _ in range(2)]
        await until(lambda: upstream.active == 2)
        with pytest.raises(aiohttp.ConnectionTimeoutError) as caught:
            await session.get(url)
        gate.set()
        assert await asyncio.gather(*held) == [200, 200]

    assert failure(caught.value) is TIMEOUT
    assert upstream.peak == 2


async def test_silence_ends_a_call(upstream: Upstream) -> None:
    """An upstream that says nothing for the read timeout is given up."""
    url = upstream.on("/", when(asyncio.Event(), data(1)))

    async with open_session(load(outbound_read_timeout_s=0.05)) as session:
        with pytest.raises(aiohttp.SocketTimeoutError):
            await session.get(url)


async def test_drip_ends_with_the_total(upstream: Upstream) -> None:
    """An upstream that always says a little more is given up after the total timeout."""
    url = upstream.on("/", endless(b" ", pause_s=0.01))

    async with open_session(load(outbound_total_timeout_s=0.4, outbound_read_timeout_s=5)) as session:
        with pytest.raises(TimeoutError):
            async with session.get(url) as response:
                await response.read()

    await until(lambda: upstream.dropped == 1)


async def test_end_closes_every_connection(upstream: Upstream) -> None:
    """At the end of the block the session is closed, and so are idle connections and those in use."""
    idle, held = upstream.on("/idle", data(1)), upstream.on("/held", endless(b" ", pause_s=0.01))
    async with open_session(load()) as session:
        async with session.get(idle):
            pass
        response = await session.get(held)
        assert upstream.connections > 0

    assert session.closed
    await until(lambda: upstream.connections == 0)
    response.close()


async def test_own_authority_is_trusted_by_setting() -> None:
    """A certificate of an own authority is refused, at the first try, until the setting names that authority's file."""
    async with running(server_tls(ONE)) as upstream:
        url = upstream.on("/", data(1))

        async with open_session(load(), backoff_s=0.001) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError) as caught:
                await session.get(url)
        async with open_session(load(outbound_ca_file=str(ONE))) as session:
            assert await _status(session, url) == 200
        await until(lambda: upstream.connections == 0)

    assert failure(caught.value) is TLS


async def test_own_authority_is_added_to_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """The authorities of the system stay trusted beside the own one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ONE))

    async with running(server_tls(ONE)) as upstream, open_session(load(outbound_ca_file=str(TWO))) as session:
        assert await _status(session, upstream.on("/", data(1))) == 200


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_unusable_authority_is_refused_at_start(tmp_path: Path, content: bytes | None) -> None:
    """A file that is absent or holds no certificate stops the start, with the variable and its value."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"ROSTER_OUTBOUND_CA_FILE=.*ca\.pem"):
        async with open_session(load(outbound_ca_file=str(path))):
            pass


async def test_plain_answer_to_tls_is_not_trusted(upstream: Upstream) -> None:
    """A port that does not speak TLS is a failure of TLS, and is not asked again."""
    url = upstream.on("/", data(1)).replace("http:", "https:")

    async with open_session(load()) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get(url)

    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert failure(caught.value) is TLS


async def _status(session: ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status
