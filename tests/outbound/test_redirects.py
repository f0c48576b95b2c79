from __future__ import annotations

import pytest
from aiohttp import ClientSession

from service.outbound.failures import REDIRECT, Unusable
from tests.support.upstream import Upstream, body, data


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_redirect_is_an_error(session: ClientSession, upstream: Upstream, method: str, status: int) -> None:
    """A redirect, here to loopback, is never followed, though the call did not forbid it."""
    target = upstream.on("/inner", data("secret"))
    url = upstream.on("/", body(b"", status=status, Location=target))

    with pytest.raises(Unusable) as caught:
        await session.request(method, url)

    assert caught.value.failed is REDIRECT
    assert upstream.paths() == ["/"]


@pytest.mark.parametrize("status", [300, 304])
async def test_other_statuses_of_the_family_pass(session: ClientSession, upstream: Upstream, status: int) -> None:
    """A choice (300) and an unchanged answer (304) are answers, not redirects."""
    async with session.get(upstream.on("/", body(b"", status=status))) as response:
        assert response.status == status
