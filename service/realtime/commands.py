"""The commands of `/v1/ws`: one function each, with the model of its frame.

One is carried out after the other, and each answers by `socket.send`: answers come in the order of the questions.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from service.domain.auth import scopes
from service.domain.auth.scopes import Scope
from service.domain.errors import DomainError, Forbidden, InsufficientScope, Invalid
from service.domain.events import visibility
from service.domain.events.position import Position
from service.http import problems
from service.http.strict_json import Malformed, parse_json
from service.realtime import close_reasons
from service.realtime.connection import Confirm
from service.realtime.frames import Auth, Broadcast, Echo, Frame, Join, Leave, Members, Ping, Subscribe, Unsubscribe
from service.realtime.rooms.rooms import MOST_ROOMS_PER_CONNECTION
from service.realtime.subscribers import EventFilter
from service.realtime.websocket import WebSocket
from service.schemas.errors import field_errors
from service.security.authenticator import Principal
from service.telemetry.logs import utc

Verify = Callable[[str], Awaitable[Principal]]


class Commands:
    """Carries out the frames of one WebSocket.

    Args:
        verify: checks an access token; raises `InvalidToken`.
        confirm: see `Connection.confirm`.
    """

    __slots__ = ("_confirm", "_socket", "_verify")

    def __init__(self, socket: WebSocket, verify: Verify, confirm: Confirm) -> None:
        self._socket = socket
        self._verify = verify
        self._confirm = confirm

    async def receive(self, text: str) -> None:
        """Carry out one frame. A bad one is answered with `error` and the socket stays."""
        ref = None
        try:
            value = _object(text)
            ref = _ref(value)
            command = _command(value)
            if command.scope is not None and command.scope not in self._socket.principal.scopes:
                raise InsufficientScope(command.scope)
            await command.act(self, _validated(command.model, value))
        except (DomainError, Malformed) as error:
            self.refuse(error, ref)

    def refuse(self, error: Exception, ref: str | None = None) -> None:
        """Answer with an `error` frame."""
        self._socket.send(error_frame(error, ref))
        self._socket.count_bad_frame()

    async def _echo(self, frame: Echo) -> None:
        self._answer(frame, {"type": "echo", "data": frame.data})

    async def _ping(self, frame: Ping) -> None:
        self._answer(frame, {"type": "pong"})

    async def _auth(self, frame: Auth) -> None:
        principal = await self._verify(frame.token)
        socket = self._socket
        if principal.caller.id != socket.principal.caller.id:
            socket.end(close_reasons.WRONG_USER)
            return
        # What is open goes on, so it must be open to these credentials too.
        if lacking := scopes.missing(self._in_use(), principal.scopes):
            raise InsufficientScope(scopes.written(lacking))
        socket.principal = principal
        # Its session may have ended while the token was checked: endings reach the session that a stream has.
        await socket.confirm(self._confirm)
        self._answer(frame, {"type": "authenticated", "expires_at": expiry(principal)})

    def _in_use(self) -> list[Scope]:
        rooms: list[Scope] = ["rooms:read"] if self._socket.rooms else []
        return [*rooms, "events:read"] if self._socket.feed is not None else rooms

    async def _join(self, frame: Join) -> None:
        socket = self._socket
        if frame.room not in socket.rooms and len(socket.rooms) >= MOST_ROOMS_PER_CONNECTION:
            raise Forbidden(f"A connection may be in {MOST_ROOMS_PER_CONNECTION} rooms; leave one first.")
        after = None if frame.after is None else Position.parse(frame.after)
        lost, answer = await socket.join(frame.room, after, frame.history)
        if lost is not None:
            socket.tell_room_reset(frame.room, lost, answer["position"])
        self._answer(frame, answer)
        socket.read_room(frame.room)

    async def _leave(self, frame: Leave) -> None:
        self._socket.leave(frame.room)
        self._answer(frame, {"type": "left", "room": frame.room})

    async def _broadcast(self, frame: Broadcast) -> None:
        self._answer(frame, await self._socket.broadcast(frame.room, frame.data))

    async def _members(self, frame: Members) -> None:
        self._answer(frame, await self._socket.members(frame.room, frame.cursor))

    async def _subscribe(self, frame: Subscribe) -> None:
        types = None if frame.types is None else frozenset(frame.types)
        after = None if frame.after is None else Position.parse(frame.after)
        reason, position = await self._socket.place(after)
        self._socket.unsubscribe()  # what the one before still had comes before the answer
        if reason is not None:
            # Before the answer: a drop between the two must not leave the client with the new place alone.
            self._socket.tell_reset(reason, position)
        self._answer(frame, {"type": "subscribed", "position": str(position)})
        self._socket.subscribe(EventFilter(visibility.subject_of(self._socket.principal.caller), types), position.seq)

    async def _unsubscribe(self, frame: Unsubscribe) -> None:
        self._socket.unsubscribe()
        self._answer(frame, {"type": "unsubscribed"})

    def _answer(self, frame: Frame, answer: dict[str, Any]) -> None:
        self._socket.send(answer if frame.ref is None else {**answer, "ref": frame.ref})


F = TypeVar("F", bound=Frame)
_Act = Callable[[Commands, Any], Awaitable[None]]


class Command(NamedTuple):
    """The shape of a frame, what is done about it, and what the credentials must have been made for; None: anything."""

    model: type[Frame]
    act: _Act
    scope: Scope | None = None


COMMANDS: dict[str, Command] = {
    "auth": Command(Auth, Commands._auth),
    "broadcast": Command(Broadcast, Commands._broadcast, "rooms:write"),
    "echo": Command(Echo, Commands._echo),
    "join": Command(Join, Commands._join, "rooms:read"),
    "leave": Command(Leave, Commands._leave),
    "members": Command(Members, Commands._members, "rooms:read"),
    "ping": Command(Ping, Commands._ping),
    "subscribe": Command(Subscribe, Commands._subscribe, "events:read"),
    "unsubscribe": Command(Unsubscribe, Commands._unsubscribe),
}


class UnknownType(DomainError):
    sentence = f"`type` must be one of {', '.join(COMMANDS)}."


def parse_auth(text: str) -> Auth:
    """The first frame of a WebSocket that came without credentials; raises `DomainError` or `Malformed`."""
    return _validated(Auth, _object(text))


def error_frame(error: Exception, ref: str | None = None) -> dict[str, Any]:
    """The `error` frame for a refusal: its code is the slug of the problem with `_` for `-`."""
    match error:
        case Malformed():
            code = problems.MALFORMED_JSON.code
        case UnknownType():
            code = "unknown_type"
        case _:
            code = problems.find_problem_type(error).code
    detail = str(error).replace("The body", "The frame")
    if isinstance(error, Invalid):
        detail = "; ".join(f"{broken.pointer or 'the frame'}: {broken.detail}" for broken in error.errors)
    frame = {"type": "error", "code": code, "detail": detail}
    return frame if ref is None else {**frame, "ref": ref}


def expiry(principal: Principal) -> str | None:
    """When the credentials end, RFC 3339 in UTC; None for never."""
    return utc(principal.expires_at) if math.isfinite(principal.expires_at) else None


def _object(text: str) -> dict[str, Any]:
    value = parse_json(text)
    if not isinstance(value, dict):
        raise Malformed("The frame is not a JSON object.")
    return value


def _ref(value: dict[str, Any]) -> str | None:
    ref = value.get("ref")
    return ref if isinstance(ref, str) and len(ref) <= 64 else None


def _command(value: dict[str, Any]) -> Command:
    kind = value.get("type")
    found = COMMANDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise UnknownType()
    return found


def _validated(model: type[F], value: dict[str, Any]) -> F:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(*field_errors(error)) from None
