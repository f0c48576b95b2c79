"""Names of rooms, and who may do what in which."""

from __future__ import annotations

import re
import time
from uuid import UUID

import pytest

from service.config.settings import Settings
from service.domain.errors import Forbidden, NotFound
from service.domain.rooms.rules import ROOM_NAME, RoomRule, RoomRules
from service.domain.users.accounts import Caller

MEMBER = Caller(UUID(int=1), "member")
ADMIN = Caller(UUID(int=2), "admin")


@pytest.mark.parametrize("name", ["a", "0", "lobby", "admin.ops", "a" * 64, "a..b", "a-_.9"])
def test_names_that_are_good(name: str) -> None:
    """Lower case letters and digits, with dots, hyphens and underscores inside."""
    assert re.match(ROOM_NAME, name)


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "A", "a" * 65, "a b", "ä", "a/b"])
def test_names_that_are_not(name: str) -> None:
    """Text that is ambiguous in a path or a log is no room name."""
    assert not re.match(ROOM_NAME, name)


def test_admin_rooms_are_for_admins() -> None:
    """Without a setting `admin.` at the beginning decides, and nothing else."""
    rules = Settings().parsed_room_rules
    rooms = ("lobby", "admin", "administration", "admin.ops", "my.admin.ops")

    assert [rules.may_read(MEMBER, room) for room in rooms] == [True, True, True, False, True]
    assert all(rules.may_read(ADMIN, room) for room in rooms)


def test_first_pattern_that_fits_decides() -> None:
    """An exception stands before its rule; what no pattern fits is open to all."""
    rules = RoomRules({"team.open": RoomRule(), "team.*": RoomRule(read="admin"), "*.log": RoomRule(send="admin")})

    rules.check_send(MEMBER, "team.open")
    rules.check_send(MEMBER, "other")
    for room in ("team.closed", "team.x.log"):
        with pytest.raises(NotFound):
            rules.check_read(MEMBER, room)
    rules.check_read(MEMBER, "build.log")
    with pytest.raises(Forbidden):
        rules.check_send(MEMBER, "build.log")
    rules.check_send(ADMIN, "team.x.log")


def test_pattern_fits_the_whole_name() -> None:
    """A dot is a dot, `*` is any run of characters, and a part is no fit."""
    rules = RoomRules({"a.b": RoomRule(read="admin"), "c*d": RoomRule(read="admin")})

    hidden = [room for room in ("a.b", "axb", "a.bc", "xa.b", "cd", "cxxd", "cdx") if not rules.may_read(MEMBER, room)]
    assert hidden == ["a.b", "cd", "cxxd"]


def test_without_the_right_to_read_nothing_is_allowed_or_sent() -> None:
    """To send and to see members is not there either, whatever the rest of the rule says."""
    rules = RoomRules({"secret": RoomRule(read="admin"), "quiet": RoomRule(members="admin")})

    for check in (rules.check_read, rules.check_send, rules.check_members):
        with pytest.raises(NotFound):
            check(MEMBER, "secret")
        check(ADMIN, "secret")
    rules.check_read(MEMBER, "quiet")
    with pytest.raises(Forbidden):
        rules.check_members(MEMBER, "quiet")


@pytest.mark.parametrize("pattern", ["*a" * 31 + "*b", "*" * 64, "a*" * 32, "*a*b" * 16])
def test_pattern_of_many_stars_is_decided_at_once(pattern: str) -> None:
    """A name that almost fits is not tried in every combination, which would take years."""
    rules = RoomRules({pattern: RoomRule(read="admin")})

    began = time.process_time()
    for name in ("a" * 64, "ab" * 32, "a" * 63 + "c"):
        rules.may_read(MEMBER, name)
    assert time.process_time() - began < 0.5
