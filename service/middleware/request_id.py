"""A name for each request, in its answer, its log line and its problems."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from service.keys import REQUEST_ID

# What a proxy made may be kept; anything else could break a log line.
_VALID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
_PREFIX: Final = secrets.token_hex(4)
_numbers = itertools.count(1)


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    given = request.headers.get("X-Request-Id")
    if given is None or _VALID.match(given) is None:
        given = f"{_PREFIX}-{next(_numbers):06x}"
    request[REQUEST_ID] = given
    return await handler(request)
