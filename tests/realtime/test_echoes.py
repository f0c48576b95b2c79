"""Places on `/v1/echo`: limited per network, and none during shutdown."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from service.domain.errors import TooMany, Unavailable
from service.http.services import SERVICES
from service.realtime.echoes import Echoes
from tests.support.peer import raw_peer
from tests.support.server import serve
from tests.support.wait import until


def a_socket() -> web.WebSocketResponse:
    return web.WebSocketResponse()


def test_network_has_so_many_places() -> None:
    """The next connection gets a retry time; another network has its own places; a place that is left is free."""
    echoes = Echoes(2)
    with echoes.place("a", a_socket()):
        with echoes.place("a", a_socket()):
            with pytest.raises(TooMany) as refused, echoes.place("a", a_socket()):
                pass
            assert refused.value.retry_after_s > 0
            with echoes.place("b", a_socket()):
                pass
        with echoes.place("a", a_socket()):
            pass


def test_place_is_given_back_after_a_failure() -> None:
    """However its holder ends, nothing is kept of it."""
    echoes = Echoes(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="a fault"), echoes.place("a", a_socket()):
            raise ValueError("a fault")
    assert not echoes._open
    assert not echoes._sockets


async def test_no_place_is_given_while_the_service_stops() -> None:
    """A later connection gets a retry time."""
    echoes = Echoes(1)
    await echoes.drain()
    with pytest.raises(Unavailable), echoes.place("a", a_socket()):
        pass


async def test_one_wait_that_is_cancelled_does_not_end_the_draining() -> None:
    """aiohttp's senders share one wait for a socket: whose time is over cancels it for all, the one that closes too."""

    class Cancelled(web.WebSocketResponse):
        async def close(self, **_: object) -> bool:
            raise asyncio.CancelledError

    class Closed(web.WebSocketResponse):
        code = 0

        async def close(self, *, code: int = 0, message: bytes = b"", drain: bool = True) -> bool:
            self.code = code
            return True

    echoes, closed = Echoes(2), Closed()
    with echoes.place("a", Cancelled()), echoes.place("a", closed):
        await echoes.drain()
    assert closed.code == 1012


async def test_draining_is_not_held_up_by_a_peer_that_does_not_read() -> None:
    """Every socket is closed within its time; one that waits for its peer does not use the time of another."""
    async with (
        serve(send_buffer=16_384) as server,
        raw_peer(server.port, receive_buffer=1024, send_buffer=16_384) as stalled,
        server.ws(path="/v1/echo") as socket,
    ):
        echoes = server.app[SERVICES].echoes
        await stalled.upgrade("/v1/echo")
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
        message = bytes((0x82, 0xFE, 0xF0, 0x00, 0, 0, 0, 0)) + bytes(0xF000)
        sending = asyncio.create_task(stalled.send(message * 200))
        await asyncio.sleep(0)
        await until(lambda: len(echoes._sockets) == 2)
        drain = asyncio.create_task(echoes.drain())
        assert (await socket.receive()).data == 1012
        await asyncio.wait_for(drain, 5)
        await until(lambda: not echoes._sockets)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
