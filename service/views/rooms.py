"""Rooms over HTTP: the list, members, history and live messages."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from service.domain.errors import NotFound, PositionUnavailable, Unavailable
from service.domain.events.position import Position
from service.domain.idempotency.claims import StoredResponse
from service.domain.rooms.rules import is_room_name
from service.http import problems
from service.http.idempotency import build_claim, read_key, render_stored
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.problems import HttpProblem
from service.http.streaming import serve_stream
from service.http.view import PRIVATE, View, json_response
from service.realtime.event_stream import Reading, Start, unavailable_stream
from service.realtime.rooms.room import MESSAGES, Room
from service.schemas.feed import Closing, Hello, Keepalive, Reset
from service.schemas.rooms import (
    MemberAnswer,
    MemberFilter,
    MemberList,
    Message,
    MessageBody,
    MessageFilter,
    MessageList,
    RoomFeedFilter,
    RoomFilter,
    RoomList,
    RoomSummaryAnswer,
)

_TAG: Final = "rooms"
# Rooms may be away for long while all else is served: their readers must not ask every second.
_ROOMS_RETRY_MS: Final = (10_000, 30_000)


class NamedRoomView(View):
    """The base of views below `/v1/rooms/{room}`."""

    @property
    def room_name(self) -> str:
        name = self.request.match_info["room"]
        if not is_room_name(name):
            raise NotFound()
        return name

    async def find_room(self) -> Room:
        room: Room = await self.services.rooms.find(self.room_name, self.principal)
        return room


class RoomsView(View):
    @operation(
        Operation(
            id="list_rooms",
            summary="List rooms",
            description="Those that have members, readers or history and that the caller may read.",
            tag=_TAG,
            access=Access.BEARER,
            scope="rooms:read",
            query=RoomFilter,
            replies={200: Reply("A page of rooms, by name.", RoomList)},
        )
    )
    async def get(self) -> web.Response:
        wanted = self.query(RoomFilter)
        page, following = await self.services.rooms.page(self.principal, wanted.cursor or "", wanted.limit)
        items = [RoomSummaryAnswer(room=room.name, position=str(room.head), count=room.members) for room in page]
        return json_response(RoomList(items=items, next=following).model_dump_json().encode(), headers=PRIVATE)


class MembersView(NamedRoomView):
    @operation(
        Operation(
            id="list_members",
            summary="List a room's members",
            description="Users with a WebSocket in the room; readers of its feed are none.",
            tag=_TAG,
            access=Access.BEARER,
            scope="rooms:read",
            query=MemberFilter,
            replies={200: Reply("A page of members, by id.", MemberList)},
            refusals=(problems.NOT_FOUND, problems.FORBIDDEN),
        )
    )
    async def get(self) -> web.Response:
        wanted = self.query(MemberFilter)
        page, following = await self.services.rooms.members(self.room_name, self.principal, wanted.cursor, wanted.limit)
        items = [MemberAnswer(id=member.id, username=member.username, since=member.since) for member in page]
        return json_response(MemberList(items=items, next=following).model_dump_json().encode(), headers=PRIVATE)


class MessagesView(NamedRoomView):
    @operation(
        Operation(
            id="list_messages",
            summary="Read a room's history",
            description=(
                "The messages that the room retains. Without `after` it begins at the oldest message kept. A "
                "position that the room no longer reaches is 410 and names the position to continue from."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="rooms:read",
            query=MessageFilter,
            replies={200: Reply("A page of messages, oldest first.", MessageList)},
            refusals=(problems.NOT_FOUND, problems.POSITION_UNAVAILABLE),
        )
    )
    async def get(self) -> web.Response:
        wanted = self.query(MessageFilter)
        room = await self.find_room()
        after = Position(room.epoch, room.oldest) if wanted.after in (None, "0") else Position.parse(wanted.after)
        if reason := room.lost_now(after):
            raise PositionUnavailable(reason, str(room.head), self.request.path)
        found = room.messages(after.seq, wanted.limit)
        seen = str(Position(room.epoch, found[-1].seq if found else after.seq))
        following = f'"{seen}"' if found and found[-1].seq < room.ring.head else "null"
        items = b",".join(message.data for message in found)
        return json_response(
            b'{"items":[%b],"next":%b,"position":"%b"}' % (items, following.encode(), seen.encode()), headers=PRIVATE
        )

    @operation(
        Operation(
            id="send_message",
            summary="Send to a room",
            description=(
                "All readers of the room receive it. The sender need not be a member. With an `Idempotency-Key` the request can be "
                "repeated until it is answered, and readers receive the message once."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="rooms:write",
            body=MessageBody,
            headers=("Idempotency-Key",),
            replies={201: Reply("The message as readers get it.", Message, headers=("Idempotent-Replayed",))},
            refusals=(problems.NOT_FOUND, problems.FORBIDDEN),
        )
    )
    async def post(self) -> web.Response:
        most = self.services.settings.ws_max_message_bytes
        key = read_key(self.request)
        body = await self.body(MessageBody)
        if len(await self.read()) > most:
            raise HttpProblem(problems.TOO_LARGE, f"A message may have {most:,} bytes at most.")
        rooms = self.services.rooms
        if key is None:
            return json_response((await rooms.send(self.room_name, self.principal, body.data)).data, status=201)
        claim = await build_claim(self, key)
        entry, is_replay = await rooms.send_once(self.room_name, self.principal, body.data, claim)
        return render_stored(StoredResponse(201, {}, entry.data), is_replay)


class RoomFeedView(NamedRoomView):
    @operation(
        Operation(
            id="follow_room",
            summary="Follow a room live",
            description=(
                "Server-sent events: `hello`, then every `message` after the given position, then live messages. A "
                "room is created if it does not exist. Readers are not members: they do not appear in presence, and receive "
                "no presence. `reset` and `closing` as in the feed of accounts."
            ),
            tag=_TAG,
            access=Access.STREAM,
            scope="rooms:read",
            query=RoomFeedFilter,
            headers=("Last-Event-ID",),
            replies={
                200: Reply(
                    "The stream.",
                    media_type="text/event-stream",
                    events={"hello": Hello, "ping": Keepalive, "message": Message, "reset": Reset, "closing": Closing},
                    headers=("Cache-Control",),
                )
            },
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def get(self) -> web.StreamResponse:
        wanted = self.query(RoomFeedFilter)
        start = Start.of(self.request.headers.get("Last-Event-ID"), wanted.after)
        rooms = self.services.rooms
        try:
            room = await rooms.add_listener(self.room_name, self.principal)
        except Unavailable:
            return unavailable_stream(_ROOMS_RETRY_MS)
        try:
            resync = f"/v1/rooms/{room.name}/messages"
            return await serve_stream(self, Reading(room, MESSAGES, resync, wanted.limit, ends_behind=True), start)
        finally:
            rooms.remove_listener(room)
