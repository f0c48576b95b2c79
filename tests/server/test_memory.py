"""The memory of many closed connections."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from unittest import mock

import pytest

from service.http.services import SERVICES
from service.realtime.connection import Connection
from service.server.memory import trim_heap
from tests.support.server import Server
from tests.support.wait import until


class Loop:
    """Something that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def loops() -> int:
    return sum(isinstance(one, Loop) for one in gc.get_objects())


def test_cycles_are_freed() -> None:
    """Garbage that the collector would free later is freed at once."""
    for _ in range(10):
        Loop()
    trim_heap()
    assert not loops()


def test_what_is_set_aside_is_not_looked_at_again() -> None:
    """Frozen objects are not examined by the collector; later ones are."""
    script = "import gc; from service.server.memory import freeze_gc; freeze_gc(); a = []; " + (
        "print(gc.get_freeze_count() > 1_000, gc.is_tracked(a), len(gc.get_objects()) < 1_000)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True", "True"]


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/ws"])
async def test_memory_is_given_back_after_many_have_left(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The heap is trimmed once, some time after the last connection closed, and not after a few."""
    monkeypatch.setattr("service.realtime.connection_registry._MANY", 5)
    monkeypatch.setattr("service.realtime.connection_registry._QUIET_S", 0.05)
    ada, connections = await server.member(), server.app[SERVICES].connections
    with mock.patch("service.realtime.connection_registry.trim_heap", return_value=0.001) as given_back:
        for count in (4, 1):
            async with AsyncExitStack() as stack:
                opened = server.feed if path == "/v1/feed" else server.ws
                for _ in range(count):
                    await stack.enter_async_context(opened(ada))
                await until(lambda count=count: len(connections) == count)  # type: ignore[misc]  # bound now
                assert not given_back.called
            await until(lambda: not len(connections))
        await until(lambda: given_back.called, timeout=3)
        connections.check(time.monotonic() + 0.5, 0)
        assert given_back.call_count == 1


async def test_socket_that_breaks_off_leaves_little_to_the_collector(server: Server) -> None:
    """Not its handler's frames with all that they hold: neither our half of the connection nor its readers."""
    ada = await server.member()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            async with server.ws(ada) as socket:
                await socket.receive_json()
                await socket.send_str('{"type":"join","room":"lobby"}')
                await socket.receive_json()
                assert socket._response.connection is not None
                assert socket._response.connection.transport is not None
                socket._response.connection.transport.abort()
        # The end of the handler and the loss of the connection come in turns of their own.
        await until(lambda: not [one for one in gc.get_objects() if isinstance(one, Connection)])
    finally:
        gc.enable()
