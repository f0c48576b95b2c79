"""The raw echo: everything comes back as it was."""

from __future__ import annotations

import asyncio
import os
import struct
import time

import aiohttp
import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from service.http.services import SERVICES
from tests.support.peer import raw_peer
from tests.support.server import Server, serve
from tests.support.wait import until


async def test_text_and_binary_come_back_unchanged(server: Server) -> None:
    """No credentials, no JSON: any message of either kind, empty and largest ones too."""
    messages: list[str | bytes] = ["", "{", "ä€😀\x00\u2028", "x" * 65_536, b"", b"\xff\x00", os.urandom(65_536)]
    async with server.ws(path="/v1/echo", max_msg_size=0) as socket:
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
            answer = await socket.receive(timeout=5)
            assert answer.type is (WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY)
            assert answer.data == message


async def test_messages_come_back_in_order(server: Server) -> None:
    """However many are sent before the first is read."""
    async with server.ws(path="/v1/echo") as socket:
        for number in range(500):
            await socket.send_str(str(number))
        assert [await socket.receive_str(timeout=5) for _ in range(500)] == [str(number) for number in range(500)]


async def test_message_too_large_is_1009(server: Server) -> None:
    """One byte above the limit of `/v1/ws`."""
    async with server.ws(path="/v1/echo") as socket:
        await socket.send_bytes(b"x" * 65_537)
        assert (await socket.receive(timeout=5)).data == 1009


async def test_close_comes_back_with_its_code(server: Server) -> None:
    """Also where much was echoed just before."""
    async with server.ws(path="/v1/echo") as socket:
        for _ in range(10):
            await socket.send_bytes(b"x" * 60_000)
        await socket.close(code=4000)
        assert socket.close_code == 4000
    async with raw_peer(server.port) as peer:
        await peer.upgrade("/v1/echo")
        await peer.send(b"\x81\x84" + bytes(4) + b"last" + b"\x88\x82" + bytes(4) + struct.pack("!H", 3000))
        async with asyncio.timeout(5):
            assert await peer.reader.read(1000) + await peer.reader.read() == b"\x81\x04last\x88\x02\x0b\xb8"


async def test_echo_may_be_switched_off() -> None:
    """Then it is not there."""
    async with serve(echo=False) as server:
        with pytest.raises(WSServerHandshakeError) as refused:
            await server.ws(path="/v1/echo")
        assert refused.value.status == 404


async def test_address_has_so_many_connections() -> None:
    """The next is 429 with a time to wait; a closed one makes room."""
    async with (
        serve(echo_connections_per_address=2) as server,
        server.ws(path="/v1/echo"),
        server.ws(path="/v1/echo") as second,
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await server.ws(path="/v1/echo")
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) > 0
        await second.close()
        await until(lambda: len(server.app[SERVICES].echoes._sockets) == 1)
        async with server.ws(path="/v1/echo") as third:
            await third.send_str("here")
            assert await third.receive_str(timeout=5) == "here"


async def test_pages_of_other_origins_may_not_connect(server: Server) -> None:
    """The rule of `/v1/ws` holds here too."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await server.ws(path="/v1/echo", origin="https://evil.test")
    assert refused.value.status == 403


async def test_peer_that_does_not_read_is_let_go() -> None:
    """After `slow_client_timeout_s` without progress its buffer and descriptor are given back; others are served meanwhile."""
    async with (
        serve(slow_client_timeout_s=0.2, send_buffer=16_384) as server,
        raw_peer(server.port, receive_buffer=1024, send_buffer=16_384) as peer,
        server.ws(path="/v1/echo") as other,
    ):
        await peer.upgrade("/v1/echo")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports can
        message = b"\x82\xfe\xf0\x00" + bytes(4) + bytes(0xF000)
        sending = asyncio.create_task(peer.send(message * 200))
        began = time.process_time()  # of the service and of both clients, which are this process
        await other.send_str("here")
        assert await other.receive_str(timeout=5) == "here"
        assert time.process_time() - began < 0.5
        await until(lambda: len(server.app[SERVICES].echoes._sockets) == 1)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(sending, 5)


async def test_stopping_service_closes_echoes() -> None:
    """1012, and the next connection gets a retry time."""
    async with serve() as server, server.ws(path="/v1/echo") as socket:
        drain = asyncio.create_task(server.app[SERVICES].echoes.drain())
        assert (await socket.receive(timeout=5)).data == 1012
        await asyncio.wait_for(drain, 1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await server.ws(path="/v1/echo")
        assert refused.value.status == 503
