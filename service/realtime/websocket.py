"""One WebSocket of `/v1/ws`: what it is in, what it follows, how it ends. The commands are in `commands.py`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from service.domain.errors import Conflict
from service.domain.events import visibility
from service.domain.events.position import Position
from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason
from service.realtime.connection import Connection
from service.realtime.deflate import LARGEST_WINDOW
from service.realtime.encoding import (
    WireEncoding,
    close_frame,
    compact,
    moment,
    text_frame,
)
from service.realtime.hub import Hub
from service.realtime.reader import Reader
from service.realtime.rooms.presence import brief
from service.realtime.rooms.room import Room
from service.realtime.rooms.rooms import AnyRooms
from service.realtime.subscribers import EventFilter
from service.realtime.websocket_response import WebSocketResponse, close_code
from service.security.authenticator import Principal
from service.server.tasks import Tasks

MOST_BAD_FRAMES: Final = 20
_BAD_FRAMES_IN_S: Final = 60.0
_MEMBERS_A_PAGE: Final = 100

log = logging.getLogger("roster.websocket")


class WebSocket(Connection):
    """The state of one connection. Frames go out through `send`, in the order of the calls."""

    kind = "websocket"

    def __init__(
        self,
        request: web.Request,
        response: WebSocketResponse,
        principal: Principal,
        client: str,
        *,
        hub: Hub,
        rooms: AnyRooms,
        tasks: Tasks,
    ) -> None:
        # What all readers share is compressed with the largest window; a client that agreed on less gets it plain.
        encoding = WireEncoding.DEFLATED if response.compress == LARGEST_WINDOW else WireEncoding.WEBSOCKET
        super().__init__(request, encoding, principal, client)
        self.rooms: dict[str, Reader] = {}
        self.feed: Reader | None = None
        self._response = response
        # RFC 6455, 5.5.1: no frame may follow a close frame of either side.
        response.on_close = self._fall_silent
        response.on_flood = self._end_flood
        self._hub = hub
        self._rooms = rooms
        self._tasks = tasks
        self._attending: asyncio.Task[None] | None = None
        self._close_sent = False
        self._bad_frames: tuple[float, ...] = ()

    def wake(self) -> None:
        # A task for as long as there is something to do: an idle connection costs none.
        if self._attending is None:
            self._attending = self._tasks.start(self._attend(), f"websocket {self.id}")

    async def _attend(self) -> None:
        try:
            await self.catch_up()
        except ConnectionError:
            pass  # the receiving side hears of it too, and leaves
        except Exception:
            log.exception("reading for a stream failed; closing the stream", extra={"connection": self.id})
            self.end(close_reasons.FEED_FAILED)  # a socket lives exactly as long as its feed
        finally:
            self._attending = None

    def send(self, frame: dict[str, Any]) -> None:
        """Send one frame, without waiting."""
        self.write(text_frame(compact(frame)))

    def count_message(self) -> None:
        """Count one frame of the client; too many a second end the connection."""
        if not self._response.limit.take():
            self._end_flood()

    def _end_flood(self) -> None:
        self.end(close_reasons.TOO_MANY_MESSAGES)

    def count_bad_frame(self) -> None:
        """Count one frame that could not be carried out; twenty in a minute end the connection."""
        now = time.monotonic()
        # A deque would take 600 bytes from every connection before anything is in it.
        self._bad_frames = (*self._bad_frames[1 - MOST_BAD_FRAMES :], now)
        if len(self._bad_frames) == MOST_BAD_FRAMES and now - self._bad_frames[0] < _BAD_FRAMES_IN_S:
            self.end(close_reasons.POLICY)

    async def join(self, name: str, after: Position | None, history: int) -> tuple[str | None, dict[str, Any]]:
        """Enter a room: why it cannot be read from `after`, or None, and the answer, with the place from which it will.

        `after` wins over the last `history` messages. A member of the room receives the same answer and stays.
        `read_room` starts the reading, after the answer.
        """
        if (present := self.rooms.get(name)) is not None:
            return None, self._joined(name, present.position, recovered=True)
        room = await self._rooms.enter(name, self.principal)
        lost = None if after is None else room.lost_now(after)
        seq = room.ring.head
        if after is None:
            seq = max(room.oldest, seq - history)
        elif lost is None:
            seq = after.seq
        event_filter = self._rooms.readable(room, self.principal)
        self.rooms[name] = Reader(
            room,
            self,
            event_filter,
            seq,
            lambda: self.end(close_reasons.TOO_SLOW),
            lambda reason: self.tell_room_reset(name, reason, str(room.head)),
        )
        return lost, self._joined(name, Position(room.epoch, seq), recovered=lost is None)

    def read_room(self, name: str) -> None:
        self._read(self.rooms[name])

    async def broadcast(self, name: str, data: Any) -> dict[str, Any]:
        """Send a message to everybody in a room that this connection is in.

        Raises `Conflict` when it is not, and as `Rooms`.
        """
        if name not in self.rooms:
            raise Conflict("Join the room before you send to it.")
        entry = await self._rooms.send(name, self.principal, data)
        return {"type": "sent", "room": name, "id": entry.position}

    async def members(self, name: str, after: UUID | None) -> dict[str, Any]:
        """A page of a room's members. Raises as `Rooms`."""
        page, following = await self._rooms.members(name, self.principal, after, _MEMBERS_A_PAGE)
        return {
            "type": "members",
            "room": name,
            "members": [brief(member) | {"since": moment(member.since)} for member in page],
            "next": following and str(following),
        }

    def leave(self, name: str) -> None:
        """Leave a room; harmless when not in it."""
        reader = self.rooms.pop(name, None)
        if reader is not None:
            self._stop(reader)
            self._rooms.leave(reader.log, self.principal)

    async def place(self, after: Position | None) -> tuple[str | None, Position]:
        """Why the feed cannot go on from there, or None; and from where it will."""
        reason = None if after is None else await self._hub.lost(after, self.principal.caller.id)
        return reason, self._hub.head if after is None or reason else after

    def subscribe(self, event_filter: EventFilter, seq: int) -> None:
        """Follow the feed from there; a second call replaces the first."""
        self.unsubscribe()
        self.feed = self._read(Reader(self._hub, self, event_filter, seq, self._tell_trimmed))

    def unsubscribe(self) -> None:
        if self.feed is not None:
            self._stop(self.feed)
            self.feed = None

    def _joined(self, name: str, position: Position, *, recovered: bool) -> dict[str, Any]:
        room: Room = self.rooms[name].log  # type: ignore[assignment]  # what rooms hold are rooms
        return {"type": "joined", "room": name, "position": str(position), "recovered": recovered, "count": room.count}

    def ping(self) -> None:
        if self.feed is not None:
            self.send({"type": "heartbeat", "position": str(self.feed.position)})

    def _fall_silent(self) -> None:
        self.silent = True
        for reader in self.readers:
            reader.close()

    def send_close_notice(self) -> None:
        # Not by aiohttp's `close`: called from another task than the receiving one it hangs up at once, and what the
        # client has just sent turns that into a reset, which takes the reason with it.
        ending: CloseReason = self.ending or close_reasons.FAULT
        frame: dict[str, Any] = {"type": "closing", "reason": ending.reason}
        frame["reconnect_after_ms"] = self.reconnect_after_ms if ending.reconnect else None
        self.send(frame)
        self.write(close_frame(ending.code, ending.reason))
        self._close_sent = self.silent = True

    async def hang_up(self, received: int) -> None:
        """Complete the closing handshake after the client's close frame with that code; 0 when it named none."""
        if self._close_sent:
            self._transport.close()  # both have said it, and the server hangs up first (RFC 6455, 7.1.1)
        else:
            await self._response.close(code=close_code(received), drain=False)

    def close(self) -> None:
        for name in list(self.rooms):
            self.leave(name)
        self.unsubscribe()
        # A cycle otherwise: its memory would wait for the collector.
        self._response.on_close = self._response.on_flood = None
        super().close()

    def _tell_trimmed(self) -> None:
        self.tell_reset("trimmed", self._hub.head)

    def tell_room_reset(self, room: str, reason: str, position: str) -> None:
        resync = f"/v1/rooms/{room}/messages"
        self.send({"type": "reset", "room": room, "reason": reason, "position": position, "resync": resync})

    def tell_reset(self, reason: str, position: Position) -> None:
        resync = visibility.resync_of(self.principal.caller)
        self.send({"type": "reset", "feed": True, "reason": reason, "position": str(position), "resync": resync})

    def _read(self, reader: Reader) -> Reader:
        if reader not in self.readers:
            self.readers.append(reader)
            self.wake()
        return reader

    def _stop(self, reader: Reader) -> None:
        reader.log.flush()  # what came before is still its to read
        reader.close()
        if reader in self.readers:
            self.readers.remove(reader)
