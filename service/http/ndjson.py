"""A body that is read line by line (NDJSON), however long it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiohttp import hdrs, web

from service.domain.errors import Unavailable
from service.http import problems
from service.http.content_coding import CodingError, create_decoder
from service.http.problems import HttpProblem
from service.http.services import SERVICES

MEDIA_TYPE: Final = "application/x-ndjson"
_TURN: Final = 10_000  # lines


class Numbered:
    """A line with its number, from 1. `text` is None for one that is longer than a line may be."""

    __slots__ = ("number", "text")

    def __init__(self, number: int, text: bytes | None) -> None:
        self.number = number
        self.text = text


def expect_ndjson(request: web.Request) -> None:
    """Raises `HttpProblem` for a body of another type."""
    charset = (request.charset or "utf-8").lower()
    if request.content_type != MEDIA_TYPE or charset not in ("utf-8", "utf8"):
        raise HttpProblem(
            problems.UNSUPPORTED_MEDIA_TYPE, f"Send the body as {MEDIA_TYPE}, in UTF-8.", {hdrs.ACCEPT: MEDIA_TYPE}
        )


async def lines(request: web.Request) -> AsyncIterator[Sequence[Numbered]]:
    """The lines of the body as they come, several at a time, blank ones left out.

    Nothing more is taken from the socket than what is asked for, and a line may be as long as another body as a whole.
    Raises `HttpProblem` where nothing comes for too long, or what comes is no body, and `Unavailable` when the service stops.
    """
    most = request.app[SERVICES].settings.max_body_bytes
    number = 0
    rest = bytearray()
    overlong = False  # the line that is being read; what has come of it is thrown away
    async for data in _pieces(request):
        rest += data
        if data and b"\n" not in data:
            if overlong or len(rest) > most:
                overlong = True
                rest.clear()
            continue
        whole = bytes(rest).split(b"\n")
        rest = bytearray(whole.pop() if data else b"")
        found = []
        for text in whole:
            number += 1
            if not number % _TURN:
                await asyncio.sleep(0)  # a piece of 256 KiB may be as many empty lines, which take 30 ms
            if overlong or len(text) > most:
                found.append(Numbered(number, None))
                overlong = False
            elif text and not text.isspace():
                found.append(Numbered(number, text))
        if found:
            yield found


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives, decoded, then one empty piece at its end; raises as `lines`.

    Reading what is buffered or still compressed suspends nothing: other requests get a turn after every piece.
    """
    decoder = create_decoder(request)
    try:
        while data := await _arriving(request):
            if decoder is None:
                yield data
                await asyncio.sleep(0)
                continue
            for piece in decoder.feed(data):
                if piece:
                    yield piece
                await asyncio.sleep(0)
        if decoder is not None:
            decoder.end()
    except (web.RequestPayloadError, CodingError):
        raise HttpProblem(problems.BAD_REQUEST, "The body does not arrive as its headers announce it.") from None
    yield b""


async def _arriving(request: web.Request) -> bytes:
    """The next bytes of the body, empty at its end."""
    settings, transfers = request.app[SERVICES].settings, request.app[SERVICES].bulk_jobs
    while True:
        try:
            async with transfers.wait(settings.body_timeout_s):
                data = await request.content.readany()
        except TimeoutError:
            if transfers.ending:
                raise Unavailable(1, "The service is shutting down. Send the remaining lines again.") from None
            raise HttpProblem(problems.TIMEOUT) from None
        if data or request.content.at_eof():
            return data
        await asyncio.sleep(0)
