"""Reads the answers of scripts, and published messages, into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from service.domain.events.position import Position
from service.realtime.engine import MOST_NAMED_MEMBERS, Member, PresenceChange, RoomMessage, RoomState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PublishedMessage(NamedTuple):
    """A message, and the tag of the call that sent it."""

    message: RoomMessage
    tag: str


class PublishedPresence(NamedTuple):
    """A change of presence, and its number: the next one has the next number."""

    number: int
    change: PresenceChange


def read_published(data: bytes) -> PublishedMessage | PublishedPresence:
    """Read a message from the channel of a room. Words that a later version adds to the header are ignored."""
    header, _, body = data.partition(b"\n")
    words = header.decode().split(" ")
    if words[0] == "p":
        return PublishedPresence(int(words[1]), _read_change(int(words[2]), words[3], body.decode()))
    return PublishedMessage(RoomMessage(Position.parse(words[0]), moment_of(int(words[1])), body), words[2])


def _read_change(count: int, sign: str, member: str) -> PresenceChange:
    if sign == "-":
        return PresenceChange(count, left=UUID(member))
    user, since, username = member.split(" ", 2)
    return PresenceChange(count, joined=Member(UUID(user), username, moment_of(int(since))))


def read_state(answer: Sequence[Any]) -> tuple[RoomState, int]:
    """What `attach` and `compare` return, with the number of the last change of presence."""
    epoch, seq, presence_number, count, history, members = answer
    name = epoch.decode()
    messages = [
        RoomMessage(Position(name, int(entry.partition(b"-")[0])), moment_of(int(fields[1])), fields[3])
        for entry, fields in history
    ]
    named = None if count > MOST_NAMED_MEMBERS else read_members(members)
    return RoomState(Position(name, int(seq)), messages, int(count), named), int(presence_number)


def read_members(answer: Sequence[bytes]) -> Mapping[UUID, Member]:
    """Ids and values in turn, as HGETALL returns them."""
    members = {}
    for user, value in zip(answer[::2], answer[1::2], strict=True):
        _, since, username = value.decode().split(" ", 2)
        user_id = UUID(user.decode())
        members[user_id] = Member(user_id, username, moment_of(int(since)))
    return members


def moment_of(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
