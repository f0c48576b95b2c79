"""The headers of every response, streams and errors included."""

from __future__ import annotations

from tests.support.peer import raw_peer
from tests.support.server import Server


async def test_every_answer_gives_nothing_away(server: Server) -> None:
    """No answer says which versions serve it, or lets a browser guess what it is."""
    ada = await server.member("ada")
    for path, status in (("/", 200), ("/v1/users/me", 200), ("/nothing", 404), ("/static/page.css", 200)):
        async with server.request("GET", path, ada) as answer:
            assert answer.status == status
        assert answer.headers["Server"] == "roster"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with server.feed(ada) as stream:
        assert stream.response.headers["Server"] == "roster"
        assert "X-Request-Id" in stream.response.headers
    async with raw_peer(server.port) as peer:
        assert (await peer.upgrade("/v1/echo")).headers["server"] == "roster"
