"""The WebSocket: credentials, the phase before authentication, and the receive loop."""

from __future__ import annotations

import logging

from aiohttp import WSMessage, WSMsgType, web

from service.domain.errors import BadRequest, DomainError, TooMany
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.services import CONTEXT
from service.http.strict_json import Malformed
from service.http.view import View
from service.middleware.headers import finish_headers
from service.realtime import close_reasons
from service.realtime.commands import Commands, error_frame, expiry, parse_auth
from service.realtime.connection import close_socket
from service.realtime.cork import cork, uncork
from service.realtime.encoding import compact
from service.realtime.rooms.rooms import MOST_ROOMS_PER_CONNECTION
from service.realtime.websocket import WebSocket
from service.realtime.websocket_response import WebSocketResponse, close_code
from service.schemas.events import TicketQuery
from service.security.authenticator import Principal
from service.security.networks import network_of
from service.views.handshake import HANDSHAKE_HEADERS, accept

log = logging.getLogger("roster.websocket")


class WebSocketView(View):
    @operation(
        Operation(
            id="open_websocket",
            summary="Open a WebSocket",
            description=(
                "Echo, rooms, presence and the feed, in JSON text frames (subprotocol `roster.v1`). Without credentials in "
                "the request the first frame must be `auth`. `docs/websocket.md` has every frame and close code."
            ),
            tag="websocket",
            access=Access.STREAM,
            query=TicketQuery,
            headers=("Sec-WebSocket-Protocol",),
            replies={
                101: Reply("The connection is a WebSocket now.", headers=(*HANDSHAKE_HEADERS, "Sec-WebSocket-Protocol"))
            },
            refusals=(problems.ORIGIN_NOT_ALLOWED, problems.UPGRADE_REQUIRED),
        )
    )
    async def get(self) -> web.StreamResponse:
        request = self.request
        response = accept(request, ("roster.v1",))
        await finish_headers(request, response)
        context = request[CONTEXT]
        if context.principal is not None:
            # With `hello` in one segment. Of two, which together pass the 536 bytes that a client's system takes for a full
            # one, it acknowledges the later at once, and from its first frame on the messages of a room by twos: that work
            # fell to the server's core, and a message reached a thousand readers at 0.72 of what bare writes do, now 0.92.
            cork(request.transport)
        await response.prepare(request)
        try:
            principal = context.principal or await self._first_frame(response)
            if principal is not None:
                context.principal = principal
                await self._serve(response, principal)
        except ConnectionError:
            pass  # the client left in the middle of a write
        except Exception:
            # A response that has begun cannot become a 500.
            log.exception("WebSocket handler failed; closing the socket", extra={"request_id": context.request_id})
            await response.close(code=close_reasons.FAULT.code, message=close_reasons.FAULT.reason.encode())
        finally:
            await close_socket(response, request.transport)
        return response

    async def _first_frame(self, response: WebSocketResponse) -> Principal | None:
        """Wait for `auth`. Returns None after the socket was closed for want of it."""
        services = self.services
        network = network_of(self.request[CONTEXT].client)
        ending = close_reasons.UNAUTHENTICATED
        try:
            async with services.connections.pending_auth.wait(network, services.settings.ws_auth_timeout_s):
                message = await response.receive()
                if message.type is WSMsgType.CLOSE:
                    await response.close(code=close_code(message.data))
                    return None
                if response.limit.exceeded:
                    ending = close_reasons.TOO_MANY_MESSAGES
                elif message.type is WSMsgType.TEXT:
                    principal = await services.authenticator.bearer(parse_auth(message.data).token)
                    await response.send_str(
                        compact({"type": "authenticated", "expires_at": expiry(principal)}).decode()
                    )
                    return principal
        except TimeoutError:
            pass
        except (DomainError, Malformed) as error:
            await response.send_str(compact(error_frame(error)).decode())
            if isinstance(error, TooMany):
                ending = close_reasons.TOO_MANY_CONNECTIONS
        ending = services.connections.draining or ending
        await response.close(code=ending.code, message=ending.reason.encode())
        return None

    async def _serve(self, response: WebSocketResponse, principal: Principal) -> None:
        request, services = self.request, self.services
        settings, connections = services.settings, services.connections
        peer = WebSocket(
            request,
            response,
            principal,
            request[CONTEXT].client,
            hub=services.hub,
            rooms=services.rooms,
            tasks=services.tasks,
        )
        commands = Commands(peer, services.authenticator.bearer, services.authenticator.revalidate)
        peer.send(
            {
                "type": "hello",
                "connection": peer.id,
                "user": {"id": str(principal.caller.id), "username": principal.username},
                "heartbeat_s": settings.ws_heartbeat_s,
                "expires_at": expiry(principal),
                "limits": {
                    "message_bytes": settings.ws_max_message_bytes,
                    "messages_per_s": settings.ws_messages_per_s,
                    "rooms": MOST_ROOMS_PER_CONNECTION,
                },
                "position": str(services.hub.head),
            }
        )
        uncork(request.transport)
        # After `hello`, which comes first also where the connection is one too many and ends here.
        connections.add(peer)
        if not services.hub.is_current:
            peer.end(close_reasons.FEED_FAILED)
        elif response.limit.exceeded:
            peer.end(close_reasons.TOO_MANY_MESSAGES)
        try:
            await peer.confirm(services.authenticator.revalidate)
            await self._receive(response, peer, commands)
        finally:
            peer.close()
            connections.remove(peer)
            request[CONTEXT].streamed_bytes = peer.sent_bytes

    async def _receive(self, response: WebSocketResponse, peer: WebSocket, commands: Commands) -> None:
        """Run the commands of frames until the closing handshake is done or the connection is lost."""
        while True:
            message = await response.receive()
            if message.type is WSMsgType.CLOSE:
                await peer.hang_up(message.data)
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return  # gone, or closed by aiohttp for a breach of the protocol
            if peer.ending is None:
                peer.count_message()
            # After `closing`, frames are read up to the close frame, and ignored.
            if peer.ending is None:
                await self._carry_out(message, peer, commands)
            # Its own answers fill its own socket: who does not read them is not read from either.
            if peer.is_full:
                await peer.drained()

    async def _carry_out(self, message: WSMessage, peer: WebSocket, commands: Commands) -> None:
        try:
            if message.type is WSMsgType.TEXT:
                await commands.receive(message.data)
            else:
                commands.refuse(BadRequest("Frames are JSON text here; binary frames go to /v1/echo."))
        except ConnectionError:
            raise
        except Exception:
            log.exception(
                "WebSocket command failed; closing the socket", extra={"request_id": self.request[CONTEXT].request_id}
            )
            peer.end(close_reasons.FAULT)
