"""Where a reader of an event stream asks to begin."""

from __future__ import annotations

import socket

import pytest

from service.domain.errors import InvalidPosition
from service.domain.events.position import Position
from service.http.services import SERVICES
from service.realtime.event_stream import Start
from tests.support.server import Server

PLACE, OTHER = Position("epoch", 7), Position("epoch", 9)


@pytest.mark.parametrize(
    ("last_event_id", "after", "start"),
    [
        (None, None, Start()),
        (None, "0", Start(oldest=True)),
        (None, str(PLACE), Start(PLACE)),
        (str(PLACE), None, Start(PLACE)),
        (str(PLACE), "0", Start(PLACE)),
        (str(PLACE), str(OTHER), Start(PLACE)),
        ("", None, Start()),
        ("", str(OTHER), Start(OTHER)),
        ("0", str(OTHER), Start(invalid=True)),
        ("nonsense", str(OTHER), Start(invalid=True)),
        ("epoch-7 ", None, Start(invalid=True)),
    ],
)
def test_start_of_a_reader(last_event_id: str | None, after: str | None, start: Start) -> None:
    """The header, from a reader that reconnects, wins; if it cannot be read, the missed events are unknown."""
    assert Start.of(last_event_id, after) == start


def test_malformed_place_in_the_address_is_refused() -> None:
    """A link that is wrong is the caller's to put right."""
    with pytest.raises(InvalidPosition):
        Start.of(None, "nonsense")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
async def test_kernel_gives_up_on_a_peer_that_is_gone(server: Server) -> None:
    """What was sent and is not acknowledged for 90 seconds ends the connection, not after a quarter of an hour."""
    ada = await server.member()
    async with server.feed(ada) as stream:
        await stream.expect("hello")
        (connection,) = server.app[SERVICES].connections
        peer = connection._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000
