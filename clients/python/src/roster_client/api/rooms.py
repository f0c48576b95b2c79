"""`roster.rooms`: rooms over HTTP, without a connection of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from roster_client.api.pages import quote_segment, read_pages
from roster_client.http import ApiClient
from roster_client.models import Member, Message, RoomSummary


class AsyncRooms:
    """Channels of messages."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    def list(self) -> AsyncIterator[RoomSummary]:
        """The rooms that have members or messages."""
        return read_pages(self._http, "/v1/rooms", {}, RoomSummary)

    def members(self, room: str) -> AsyncIterator[Member]:
        """The users who are connected to a room."""
        return read_pages(self._http, path_of(room) + "/members", {}, Member)

    def messages(self, room: str, *, after: str | None = None) -> AsyncIterator[Message]:
        """The messages after a position; None: those that the room keeps. Raises `PositionUnavailable`."""
        return read_pages(self._http, path_of(room) + "/messages", {"after": after}, Message, cursor="after")

    async def send(self, room: str, data: Any) -> Message:
        """Send a message. It is repeated safely after a broken connection: it carries an `Idempotency-Key`."""
        body = {"data": data}
        path = path_of(room) + "/messages"
        return Message.from_json(await self._http.json("POST", path, json=body, idempotency_key=True))


def path_of(room: str) -> str:
    """The path of a room."""
    return "/v1/rooms/" + quote_segment(room)
