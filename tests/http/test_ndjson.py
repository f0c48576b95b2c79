"""A body that is read line by line."""

from __future__ import annotations

import asyncio
import functools
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from service.app import create_app
from service.http.ndjson import lines
from tests.support.server import settings_for_tests

MOST = 10


@functools.cache
def application() -> web.Application:
    """One for all examples; it is never started."""
    return create_app(settings_for_tests(max_body_bytes=MOST))


def request_of(content: Any) -> web.Request:
    """A request with this body."""
    return make_mocked_request("POST", "/", app=application(), payload=content)


async def read(pieces: list[bytes]) -> list[tuple[int, bytes | None]]:
    """The lines of a body that comes in these pieces."""
    content = StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16, loop=asyncio.get_running_loop())

    async def feed() -> None:
        for piece in pieces:
            content.feed_data(piece)
            await asyncio.sleep(0)
        content.feed_eof()

    feeding = asyncio.create_task(feed())
    found = [(line.number, line.text) async for several in lines(request_of(content)) for line in several]
    await feeding
    return found


@given(
    body=st.lists(st.sampled_from([b"{}", b" ", b"\n", b"\n", b"\r\n", b"0123456789", b"x"]), max_size=30).map(
        b"".join
    ),
    cuts=st.lists(st.integers(0, 200), max_size=10),
)
async def test_lines_are_the_same_however_they_come(body: bytes, cuts: list[int]) -> None:
    """Wherever a body is cut, its lines are those between its line breaks, by their numbers; blank ones are left out, and of
    one that is too long only that is known."""
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in pairwise(places)]

    assert await read([piece for piece in pieces if piece]) == [
        (number, text if len(text) <= MOST else None)
        for number, text in enumerate(body.split(b"\n"), 1)
        if len(text) > MOST or text.strip()
    ]


@pytest.mark.parametrize(
    "pieces", [[b"\n" * 1_000] * 50, [b" " * 5] * 50, [b"\n" * 500_000]], ids=["empty", "spaces", "one"]
)
async def test_body_without_lines_leaves_others_their_turns(pieces: list[bytes]) -> None:
    """Pieces that are there already and hold no line, as those of a compressed body are, do not block the loop: others get a
    turn at each piece, and within a long one."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    found = [several async for several in lines(request_of(Buffered(pieces)))]
    counting.cancel()
    assert sum(map(len, found)) == (pieces[0] == b" " * 5)  # one line of spaces, which is too long
    assert turns >= 50


class Buffered:
    """A body of which reading never waits."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces[::-1]

    async def readany(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    def at_eof(self) -> bool:
        return not self._pieces
