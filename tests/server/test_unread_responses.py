"""Responses that their clients do not read are given up in time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

import pytest

from service.server import peers
from service.server.http_protocol import HttpProtocol
from service.server.unread_responses import UnreadResponses
from tests.support.server import Server, serve
from tests.support.wait import until

PATH = "/openapi.json"


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", "")).encode()


@contextmanager
def silent_client(server: Server, data: bytes) -> Iterator[socket.socket]:
    """A client that sends this and reads nothing; its kernel takes little for it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(data)
        client.setblocking(False)
        yield client


def is_reset(client: socket.socket) -> bool:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@asynccontextmanager
async def impatient() -> AsyncIterator[Server]:
    async with serve(send_buffer=8_192, slow_client_timeout_s=0.2, keepalive_s=0.1, sse_keepalive_s=0.1) as server:
        yield server


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(PATH), id="large"),
        pytest.param(request(PATH, "Connection: close"), id="the last of its connection"),
        pytest.param(request("/health/live") * 300, id="many small"),
    ],
)
async def test_response_that_is_not_read_is_given_up(data: bytes) -> None:
    """A client that takes nothing for `slow_client_timeout_s` is reset, whether the connection is kept alive, closing, or full."""
    async with impatient() as server:
        with silent_client(server, data) as client:
            began = time.monotonic()
            await until(lambda: is_reset(client))
            assert time.monotonic() - began >= 0.2


async def test_slow_client_is_given_its_time() -> None:
    """A client that takes a little now and then gets the whole of the response, however long that lasts."""
    async with impatient() as server:
        with silent_client(server, request(PATH, "Connection: close")) as client:
            body, began = b"", time.monotonic()
            while data := await asyncio.get_running_loop().sock_recv(client, 16_384):
                body += data
                if time.monotonic() - began < 0.6:
                    await asyncio.sleep(0.05)
        head, _, rest = body.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(rest)}".encode() in head


class Transport:
    """With so much in its buffer."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def get_extra_info(self, name: str) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Connection:
    def __init__(self, size: int) -> None:
        self.kept = Transport(size)
        self.drains = 0


def test_only_a_client_that_takes_nothing_is_late() -> None:
    """More in the buffer is no progress, less is, and so is a buffer that drained and is full again; streams are exempt."""
    connections = [Connection(size) for size in (0, 5, 5, 50, 5, 5)]
    _, _, growing, taking, refilled, stream = connections
    unread = UnreadResponses(30, lambda: cast(Any, {stream.kept}))
    for now in range(31):
        known = [(cast(HttpProtocol, one), cast(asyncio.Transport, one.kept)) for one in connections]
        unread.abort_stalled(known, float(now))
        growing.kept.size += 1
        taking.kept.size -= 1
        refilled.kept.size += 1
        refilled.drains += now % 20 == 0

    assert [one.kept.aborted for one in connections] == [False, True, True, False, False, False]


async def test_response_of_a_connection_that_is_closed_by_force_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed before the first look, with a response in its buffer, is reset as any other."""
    monkeypatch.setattr(peers, "MOST_HALF_SENT_HEADS", 0)
    async with serve(send_buffer=8_192, slow_client_timeout_s=0.4) as server:
        with silent_client(server, request(PATH)) as client:

            def has_response() -> bool:
                with suppress(BlockingIOError):
                    return bool(client.recv(1, socket.MSG_PEEK))
                return False

            await until(has_response)
            client.sendall(b"GET /health")
            await until(lambda: is_reset(client))
