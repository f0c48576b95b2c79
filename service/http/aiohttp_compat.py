"""Access to private attributes of aiohttp objects. Each function was checked against aiohttp 3.14.5.

Two subclasses use private attributes of their own base class and stay where they are: `server/http_protocol.py` bounds request
heads, and `Response` in `realtime/websocket.py` negotiates compression and counts frames. Check all three with a new version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


def set_body_limit(request: web.Request, most_bytes: int) -> None:
    """Bound the body of one request; `Request.read` then raises `HTTPRequestEntityTooLarge`.

    aiohttp has one public limit for a whole application, in the constructor of `Application`.
    """
    request._client_max_size = most_bytes


def current_request(connection: RequestHandler) -> web.BaseRequest | None:
    """The request that a connection is serving; None between requests. aiohttp has no public name for it."""
    return connection._current_request


def is_idle(connection: RequestHandler) -> bool:
    """Whether a connection neither serves a request nor has one queued. aiohttp has no public name for it."""
    return connection._current_request is None and not connection._messages


def take_early_bytes(connection: RequestHandler) -> bytes:
    """Remove and return the bytes that arrived together with an upgrade request.

    aiohttp feeds them to its own frame parser as soon as that is set, before a handler can wrap the parser.
    """
    early, connection._message_tail = connection._message_tail, b""
    return early


def frame_parser(connection: RequestHandler) -> Any:
    """The parser that reads the bytes after an upgrade."""
    return connection._payload_parser


def wrap_frame_parser(connection: RequestHandler, wrap: Callable[[Any], Any]) -> None:
    """Replace the parser of an upgraded connection by a wrapper around it.

    aiohttp handles control frames and fragments inside its parser and shows them to no handler.
    """
    connection._payload_parser = wrap(connection._payload_parser)
