"""A body that is read line by line."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from unittest import mock

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from service import keys
from service.transfers import Transfers
from service.views.ndjson import lines
from tests.support.server import settings_for_tests

MOST = 10


async def read(pieces: list[bytes]) -> list[tuple[int, bytes | None]]:
    """The lines of a body that comes in these pieces."""
    app = web.Application()
    app[keys.SETTINGS] = settings_for_tests(max_body_bytes=MOST)
    app[keys.TRANSFERS] = Transfers()
    loop = asyncio.get_running_loop()
    content = StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16, loop=loop)
    request = make_mocked_request("POST", "/", app=app, payload=content)

    async def feed() -> None:
        for piece in pieces:
            content.feed_data(piece)
            await asyncio.sleep(0)
        content.feed_eof()

    feeding = asyncio.create_task(feed())
    found = [(line.number, line.text) async for several in lines(request) for line in several]
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
