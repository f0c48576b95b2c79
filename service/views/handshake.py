"""The opening handshake of a WebSocket."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from service.http import problems
from service.http.problems import HttpProblem
from service.http.services import SERVICES
from service.realtime.websocket_response import WebSocketResponse
from service.security.origins import may_connect

HANDSHAKE_HEADERS: Final = ("Upgrade", "Connection", "Sec-WebSocket-Accept")
_CLOSE_S: Final = 2.0


def accept(request: web.Request, protocols: Sequence[str] = ()) -> WebSocketResponse:
    """Check the handshake, and return a WebSocket to prepare. Raises `HttpProblem`."""
    settings = request.app[SERVICES].settings
    check_handshake(request)
    if not may_connect(request, settings.public_url, settings.cors_origins):
        raise HttpProblem(problems.ORIGIN_NOT_ALLOWED)
    return WebSocketResponse(
        timeout=_CLOSE_S,
        protocols=protocols,
        heartbeat=settings.ws_heartbeat_s,
        messages_per_s=settings.ws_messages_per_s,
        compress=settings.ws_deflate,  # what comes in is bounded by max_msg_size inflated, too
        max_msg_size=settings.ws_max_message_bytes + 1,  # aiohttp refuses a message of this size, not only above it
        autoclose=False,  # it would answer a close frame with 1006 in it as if that were a code to send
    )


def check_handshake(request: web.Request) -> None:
    """Refuse a request that is no WebSocket handshake (RFC 6455, 4.2.1), with a problem document that aiohttp lacks.

    A refused upgrade closes the connection: a proxy that did not check for 101 would forward frames.
    """
    headers = request.headers
    # RFC 6455, 4.1: GET, and HTTP/1.1 or higher; aiohttp would also upgrade HEAD and HTTP/1.0.
    fits = request.method == hdrs.METH_GET and request.version >= HttpVersion11
    close: dict[str, str] = {hdrs.CONNECTION: "close"}
    tokens = [token.strip().lower() for token in headers.get(hdrs.CONNECTION, "").split(",")]
    if not fits or headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket" or "upgrade" not in tokens:
        # RFC 9110, 15.5.22: 426 must say what to upgrade to.
        raise HttpProblem(
            problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade, close"}
        )
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
        raise HttpProblem(
            problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", hdrs.SEC_WEBSOCKET_VERSION: "13", **close}
        )
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    try:
        valid = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise HttpProblem(problems.BAD_REQUEST, "`Sec-WebSocket-Key` must stand once, 16 bytes in base64.", close)
