"""One answer of one upstream: whole, in time, within its bound, and JSON."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse, ClientSession

from service.http.strict_json import Malformed, parse_json
from service.outbound.failures import INVALID_JSON, TOO_LARGE, Unusable, not_json


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """An answer, whatever its status: that the upstream says 404 is an answer too.

    Attributes:
        status: HTTP status.
        ms: from the start of the call to the last byte read, tries before included, in milliseconds.
        data: the parsed JSON; None also where an answer other than 200 came without content.
    """

    status: int
    ms: int
    data: Any


async def fetch(session: ClientSession, url: str, *, request_id: str, max_bytes: int) -> FetchedResponse:
    """GET `url` and read its JSON.

    Args:
        request_id: passed on as `X-Request-Id`.
        max_bytes: bound of the body, counted after unpacking; reading stops there.

    Raises an exception that `failures.failure` can name. Cancelling is safe and closes the connection.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    headers = {"Accept": "application/json", "X-Request-Id": request_id}
    # Leaving the block with a body half read closes the connection instead of draining it.
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        data = await _read_json(response, max_bytes)
        return FetchedResponse(response.status, round((loop.time() - started) * 1000), data)


async def _read_json(response: ClientResponse, max_bytes: int) -> Any:
    if not (response.content_type == "application/json" or response.content_type.endswith("+json")):
        if response.status == 200 or await response.content.readany():
            raise Unusable(not_json(response.status))
        return None
    body = await _read(response, max_bytes)
    if not body and response.status != 200:
        return None
    try:
        return parse_json(body)
    except Malformed as error:
        raise Unusable(INVALID_JSON) from error


async def _read(response: ClientResponse, max_bytes: int) -> bytearray:
    if (response.content_length or 0) > max_bytes:
        raise Unusable(TOO_LARGE)
    body = bytearray()
    # Each piece is at most what the flow control of the stream lets pile up, some 128 KiB, also out of a gzip bomb.
    async for piece in response.content.iter_any():
        if len(body) + len(piece) > max_bytes:
            raise Unusable(TOO_LARGE)
        body += piece
    return body
