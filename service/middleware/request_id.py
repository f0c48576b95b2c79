"""The id of each request."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import istr

# The id of a proxy is kept; other text could break a log line.
_HEADER: Final = istr("X-Request-Id")
_VALID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z", re.ASCII)


def request_ids() -> Callable[[web.Request], str]:
    """Generates request ids. Each process creates its own, because gunicorn's workers share the modules of their master."""
    prefix, numbers = secrets.token_hex(4), itertools.count(1)

    def request_id(request: web.Request) -> str:
        """The `X-Request-Id` of the request if it is safe in a log line, else a new id."""
        given = request.headers.get(_HEADER)
        if given is not None and _VALID.match(given) is not None:
            return given
        return f"{prefix}-{next(numbers)}"

    return request_id
