"""The bytes of a message: those that the sender decides, and the frame that every member receives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.domain.events.position import Position
from service.realtime.encoding import EncodedEntry, compact, moment
from service.security.authenticator import Principal


def encode_body(principal: Principal, data: Any) -> bytes:
    """The sender and the data, each as JSON, on a line of their own."""
    sender = {"id": str(principal.caller.id), "username": principal.username}
    return compact(sender) + b"\n" + compact(data)


def encode_message(room: str, position: Position, time: datetime, body: bytes) -> EncodedEntry:
    """The frame that members receive: the same bytes in every process."""
    sender, _, data = body.partition(b"\n")
    name = str(position)
    frame = b'{"type":"message","room":"%b","id":"%b","from":%b,"time":"%b","data":%b}' % (
        room.encode(), name.encode(), sender, moment(time).encode(), data
    )  # fmt: skip
    return EncodedEntry(position.seq, None, "message", name, frame, frame)
