"""A WebSocket that returns every message unchanged, to test clients, proxies and the framing of the server."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from service.domain.errors import NotFound
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.services import CONTEXT
from service.http.view import View
from service.middleware.headers import finish_headers
from service.realtime import close_reasons
from service.realtime.connection import close_socket
from service.realtime.websocket_response import WebSocketResponse, close_code
from service.security.networks import network_of
from service.views.handshake import HANDSHAKE_HEADERS, accept


class EchoView(View):
    @operation(
        Operation(
            id="open_echo",
            summary="Echo over a WebSocket",
            description=(
                "Text and binary messages come back unchanged. `ROSTER_WS_MESSAGES_PER_S` bounds the frames of a client as on "
                "`/v1/ws`; above it the close code is 4429. `ROSTER_ECHO=false` switches it off."
            ),
            tag="websocket",
            access=Access.PUBLIC,
            replies={101: Reply("The connection is a WebSocket now.", headers=HANDSHAKE_HEADERS)},
            refusals=(
                problems.BAD_REQUEST,
                problems.ORIGIN_NOT_ALLOWED,
                problems.NOT_FOUND,
                problems.UPGRADE_REQUIRED,
                problems.SERVICE_UNAVAILABLE,
            ),
        )
    )
    async def get(self) -> web.StreamResponse:
        request, services = self.request, self.services
        settings = services.settings
        if not settings.echo:
            raise NotFound()
        socket = accept(request)
        with services.echoes.place(network_of(request[CONTEXT].client), socket):
            await finish_headers(request, socket)
            await socket.prepare(request)
            try:
                await _echo(socket, settings.slow_client_timeout_s)
            except (ConnectionError, TimeoutError):
                pass  # the peer left, or does not read
            finally:
                await close_socket(socket, request.transport)
        return socket


async def _echo(socket: WebSocketResponse, slow_client_timeout_s: float) -> None:
    while True:
        message = await socket.receive()
        # Only this task waits for the socket, so cancelling its wait affects no other task.
        async with asyncio.timeout(slow_client_timeout_s):
            is_message = message.type in (WSMsgType.TEXT, WSMsgType.BINARY)
            if socket.limit.exceeded or (is_message and not socket.limit.take()):
                await socket.close(
                    code=close_reasons.TOO_MANY_MESSAGES.code, message=close_reasons.TOO_MANY_MESSAGES.reason.encode()
                )
                return
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.type is WSMsgType.CLOSE:
                await socket.close(code=close_code(message.data))
                return
            else:
                return  # closed, or an error that aiohttp has answered with its close code
