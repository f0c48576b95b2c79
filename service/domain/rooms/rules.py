"""Room names and access rules."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from service.domain.errors import Forbidden, NotFound
from service.domain.users.accounts import Caller

ROOM_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
PATTERN: Final = r"^[a-z0-9._*-]{1,64}$"

RoomRight = Literal["read", "send", "members"]
Who = Literal["user", "admin"]

_MOST_KNOWN: Final = 10_000


def is_room_name(text: str) -> bool:
    # fullmatch: before `$` a line break at the end would pass.
    return re.fullmatch(ROOM_NAME, text, re.ASCII) is not None


@dataclass(frozen=True, slots=True)
class RoomRule:
    """The roles that may read, send and see members in matching rooms: any signed-in `user`, or only an `admin`.

    Attributes:
        read: join and read; who may not is answered as if the room were not there.
        send: send messages.
        members: see who is in it.
    """

    read: Who = "user"
    send: Who = "user"
    members: Who = "user"


class RoomRules:
    """Rules by name pattern, in which `*` stands for anything.

    The first pattern that fits a name decides; where none does, any signed-in user may do everything.
    """

    def __init__(self, rules: Mapping[str, RoomRule]) -> None:
        self._rules = [(_compiled(pattern), rule) for pattern, rule in rules.items()]
        self._known: dict[str, RoomRule] = {}

    def may_read(self, caller: Caller, room: str) -> bool:
        return _is(caller, self._of(room).read)

    def may_see_members(self, caller: Caller, room: str) -> bool:
        return _is(caller, self._of(room).members)

    def check_read(self, caller: Caller, room: str) -> None:
        """Raises `NotFound`: a room that a user may not read does not exist for that user."""
        if not self.may_read(caller, room):
            raise NotFound()

    def check_send(self, caller: Caller, room: str) -> None:
        """Raises `NotFound` or `Forbidden`."""
        self.check_read(caller, room)
        if not _is(caller, self._of(room).send):
            raise Forbidden("This account may read this room and not send to it.")

    def check_members(self, caller: Caller, room: str) -> None:
        """Raises `NotFound` or `Forbidden`."""
        self.check_read(caller, room)
        if not self.may_see_members(caller, room):
            raise Forbidden("This account may read this room and not see who is in it.")

    def _of(self, room: str) -> RoomRule:
        rule = self._known.get(room)
        if rule is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            fitting = (rule for pattern, rule in self._rules if pattern.match(room))
            rule = self._known[room] = next(fitting, RoomRule())
        return rule


def _is(caller: Caller, who: Who) -> bool:
    return who == "user" or caller.is_admin


def _compiled(pattern: str) -> re.Pattern[str]:
    # Not `.*` for each star: on a name that almost fits, ten of them would be tried in every combination.
    return re.compile(fnmatch.translate(pattern))
