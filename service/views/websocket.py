"""The WebSocket: who may connect, the phase before somebody is known, and the loop that receives."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging

from aiohttp import WSMsgType, hdrs, web

from service import problems
from service.domain.errors import BadRequest, Refusal
from service.keys import (
    AUTHENTICATOR,
    CLIENT,
    CONNECTIONS,
    HUB,
    PRINCIPAL,
    REQUEST_ID,
    ROOMS,
    SETTINGS,
    STREAMED_BYTES,
    TASKS,
)
from service.operations import Access, Operation, Reply, operation
from service.problems import Refused
from service.realtime import closing
from service.realtime.commands import Commands, error_frame, expiry, parse_auth
from service.realtime.frames import compact
from service.realtime.rooms import MOST_ROOMS_PER_CONNECTION
from service.realtime.websocket import WebSocket
from service.schemas.events import TicketQuery
from service.security.authenticator import Principal
from service.security.origins import may_connect
from service.strict_json import Malformed
from service.views.base import View

log = logging.getLogger("roster.websocket")

_HANDSHAKE_REFUSALS = (problems.BAD_REQUEST, problems.UPGRADE_REQUIRED, problems.TOO_MANY)


class Socket(View):
    @operation(
        Operation(
            summary="Open a WebSocket",
            description=(
                "Echo, rooms, presence and the feed, in JSON text frames (subprotocol `roster.v1`). Without credentials in "
                "the request the first frame must be `auth`. `docs/websocket.md` has every frame and close code."
            ),
            tag="websocket",
            access=Access.STREAM,
            query=TicketQuery,
            replies={101: Reply("The connection is a WebSocket now.")},
            refusals=(problems.UNAUTHENTICATED, problems.INVALID_TOKEN, problems.FOREIGN_ORIGIN, *_HANDSHAKE_REFUSALS),
        )
    )
    async def get(self) -> web.StreamResponse:
        request, app = self.request, self.request.app
        settings = app[SETTINGS]
        check_handshake(request)
        if not may_connect(request, settings.public_url, settings.cors_origins):
            raise Refused(problems.FOREIGN_ORIGIN)
        response = web.WebSocketResponse(
            protocols=("roster.v1",),
            heartbeat=settings.heartbeat_s,
            compress=False,  # 118 KB a connection against 16
            max_msg_size=settings.ws_max_message_bytes + 1,  # aiohttp refuses a message of this size, not only above it
        )
        await response.prepare(request)
        principal = request.get(PRINCIPAL) or await self._first_frame(response)
        if principal is not None:
            request[PRINCIPAL] = principal
            await self._serve(response, principal)
        return response

    async def _first_frame(self, response: web.WebSocketResponse) -> Principal | None:
        """Wait for `auth`; None when it did not come, after the socket was closed."""
        try:
            async with asyncio.timeout(self.request.app[SETTINGS].ws_auth_timeout_s):
                message = await response.receive()
                if message.type is WSMsgType.TEXT:
                    principal = await self.request.app[AUTHENTICATOR].bearer(parse_auth(message.data).token)
                    await response.send_str(
                        compact({"type": "authenticated", "expires_at": expiry(principal)}).decode()
                    )
                    return principal
        except TimeoutError:
            pass
        except (Refusal, Malformed) as error:
            await response.send_str(compact(error_frame(error)).decode())
        await response.close(code=closing.UNAUTHENTICATED.code, message=closing.UNAUTHENTICATED.reason.encode())
        return None

    async def _serve(self, response: web.WebSocketResponse, principal: Principal) -> None:
        request, app = self.request, self.request.app
        settings, connections = app[SETTINGS], app[CONNECTIONS]
        peer = WebSocket(
            request,
            response,
            principal,
            request[CLIENT],
            hub=app[HUB],
            rooms=app[ROOMS],
            tasks=app[TASKS],
            messages_per_s=settings.ws_messages_per_s,
        )
        commands = Commands(peer, app[AUTHENTICATOR].bearer)
        connections.add(peer)
        try:
            peer.send(
                {
                    "type": "hello",
                    "connection": peer.id,
                    "user": {"id": str(principal.caller.id), "username": principal.username},
                    "heartbeat_s": settings.heartbeat_s,
                    "expires_at": expiry(principal),
                    "limits": {
                        "message_bytes": settings.ws_max_message_bytes,
                        "messages_per_s": settings.ws_messages_per_s,
                        "rooms": MOST_ROOMS_PER_CONNECTION,
                    },
                    "position": str(app[HUB].head),
                }
            )
            await self._receive(response, peer, commands)
        except ConnectionError:
            pass  # the client left in the middle of a write
        except Exception:
            log.exception("a command failed", extra={"request_id": request[REQUEST_ID]})
            peer.end(closing.FAULT)
            await peer.finished()
        finally:
            peer.close()
            connections.remove(peer)
            request[STREAMED_BYTES] = peer.sent_bytes
            # What a peer that never reads has left in the buffer would keep its memory and descriptor.
            if not peer.is_gone and peer.buffered_bytes:
                peer.abort()

    async def _receive(self, response: web.WebSocketResponse, peer: WebSocket, commands: Commands) -> None:
        async for message in response:
            if peer.ending is not None:
                continue  # read on to the peer's close frame, but carry out nothing more
            peer.count_message()
            if message.type is WSMsgType.TEXT:
                await commands.receive(message.data)
            elif message.type is WSMsgType.BINARY:
                commands.refuse(BadRequest("Frames are JSON text here; binary frames go to /v1/echo."))
            # Its own answers fill its own socket: who does not read them is not read from either.
            if peer.is_full:
                await peer.drained()


def check_handshake(request: web.Request) -> None:
    """Refuse what is no WebSocket handshake (RFC 6455, 4.2.1), before aiohttp would in its own words.

    A refused upgrade closes the connection: a proxy that did not check for 101 would take what follows for frames.
    """
    headers = request.headers
    close: dict[str, str] = {hdrs.CONNECTION: "close"}
    tokens = [token.strip().lower() for token in headers.get(hdrs.CONNECTION, "").split(",")]
    if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket" or "upgrade" not in tokens:
        # RFC 9110, 15.5.22: 426 must say what to upgrade to.
        raise Refused(problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade, close"})
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != ["13"]:
        raise Refused(
            problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", hdrs.SEC_WEBSOCKET_VERSION: "13", **close}
        )
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    try:
        valid = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise Refused(problems.BAD_REQUEST, "`Sec-WebSocket-Key` must stand once, 16 bytes in base64.", close)
