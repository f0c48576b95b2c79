"""Presence: the members of a room, and its announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from service.realtime.rooms.presence import LocalPresence
from tests.support.wait import until

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ADA, BOB, CAT = (UUID(int=number) for number in (1, 2, 3))
NAMES = {ADA: "ada", BOB: "bob", CAT: "cat"}
GATHER_S = 0.01
PAGE = 100


class Told:
    """The announcements, and how often the room was empty."""

    def __init__(self, leave_s: float) -> None:
        self.changes: list[dict[str, Any]] = []
        self.empty = 0
        self.presence = LocalPresence(self.changes.append, GATHER_S, leave_s, self.on_empty)

    def on_empty(self) -> None:
        self.empty += 1

    def enter(self, *user_ids: UUID) -> None:
        for user_id in user_ids:
            self.presence.enter(user_id, NAMES.get(user_id, f"user{user_id.int}"), NOW)


@pytest.fixture
def quick() -> Iterator[Told]:
    """A room in which a leave is announced at once."""
    told = Told(0)
    yield told
    told.presence.close()


@pytest.fixture
def patient() -> Iterator[Told]:
    """A room whose grace period is longer than any test."""
    told = Told(3600)
    yield told
    told.presence.close()


def names(members: list[dict[str, str]]) -> list[str]:
    return [member["username"] for member in members]


async def test_joins_are_announced_in_batches(quick: Told) -> None:
    """Joins within one batch are one change, in their order."""
    quick.enter(BOB, ADA)
    assert quick.changes == []
    await until(lambda: quick.changes)
    quick.enter(CAT)
    await until(lambda: len(quick.changes) == 2)

    first, second = quick.changes
    assert (first["count"], names(first["joined"]), first["left"]) == (2, ["bob", "ada"], [])
    assert (second["count"], names(second["joined"]), second["left"]) == (3, ["cat"], [])
    assert first["joined"][0] == {"id": str(BOB), "username": "bob"}


async def test_member_with_two_connections_is_one_member(quick: Told) -> None:
    """A second tab is not announced, and neither is the end of one of the two."""
    quick.enter(ADA, ADA, BOB)
    await until(lambda: quick.changes)
    assert quick.changes[0]["count"] == len(quick.presence) == 2

    quick.presence.leave(ADA)
    quick.presence.leave(BOB)
    await until(lambda: len(quick.changes) == 2)
    assert (quick.changes[1]["count"], names(quick.changes[1]["left"])) == (1, ["bob"])

    quick.presence.leave(ADA)
    await until(lambda: len(quick.changes) == 3)
    assert (quick.changes[2]["count"], names(quick.changes[2]["left"])) == (0, ["ada"])
    assert quick.empty == 1


async def test_quick_return_is_not_announced(patient: Told) -> None:
    """A member that comes back within its time never left; it stays in the list meanwhile."""
    patient.enter(ADA, BOB)
    await until(lambda: patient.changes)
    for _ in range(3):
        patient.presence.leave(ADA)
        assert len(patient.presence) == 2
        patient.enter(ADA)
    patient.enter(CAT)
    await until(lambda: len(patient.changes) == 2)

    assert (names(patient.changes[1]["joined"]), patient.changes[1]["left"]) == (["cat"], [])
    assert patient.empty == 0


async def test_visit_shorter_than_a_batch_is_not_announced() -> None:
    """A join and leave within one batch are not announced, nor a leave and join."""
    told = Told(0)
    told.presence = LocalPresence(told.changes.append, 0.05, 0, told.on_empty)
    told.enter(ADA, BOB)
    await until(lambda: told.changes)

    told.enter(CAT)
    told.presence.leave(CAT)
    told.presence.leave(BOB)
    await until(lambda: len(told.presence) == 1)
    told.enter(BOB)
    await asyncio.sleep(0.06)  # longer than a batch: a change that is not announced by then never is
    told.presence.leave(ADA)
    await until(lambda: len(told.changes) == 2)

    assert (names(told.changes[1]["left"]), told.changes[1]["joined"]) == (["ada"], [])
    told.presence.close()


async def test_above_a_hundred_members_counts_are_announced(quick: Told) -> None:
    """Up to a hundred members are announced by name, more only as a count."""
    quick.enter(*(UUID(int=number) for number in range(100)))
    await until(lambda: quick.changes)
    assert quick.changes[0]["count"] == len(quick.changes[0]["joined"]) == 100

    quick.enter(UUID(int=100))
    await until(lambda: len(quick.changes) == 2)
    assert quick.changes[1] == {"count": 101}


async def test_pages_name_every_member_once(patient: Told) -> None:
    """Members come in the order of their ids, so many a page; the last page has nothing to go on with."""
    ids = [UUID(int=number) for number in range(2 * PAGE + 50)]
    patient.enter(*reversed(ids))

    pages, after = [], None
    while found := patient.presence.page(after, PAGE):
        pages.append(found)
        after = found[-1].id

    assert [member.id for page in pages for member in page] == ids
    assert [len(page) for page in pages] == [PAGE, PAGE, 50]


async def test_page_goes_on_behind_a_member_that_has_gone(quick: Told) -> None:
    """The member that a page continues after need not be there any more; after the last one nothing comes."""
    ids = [UUID(int=number) for number in range(PAGE + 1)]
    quick.enter(*ids)
    quick.presence.leave(ids[0])
    await until(lambda: len(quick.presence) == PAGE)

    assert quick.presence.page(ids[0], PAGE) == quick.presence.page(None, PAGE)
    assert quick.presence.page(ids[-1], PAGE) == []


async def test_closed_presence_tells_nothing(quick: Told) -> None:
    """No timer of it fires any more."""
    quick.enter(ADA)
    quick.presence.leave(ADA)
    quick.presence.close()
    await asyncio.sleep(2 * GATHER_S)  # longer than a batch: a change that is not announced by then never is

    assert quick.changes == []
    assert quick.empty == 0


async def test_many_who_leave_at_once_are_a_number(quick: Told) -> None:
    """A room of thousands that empties tells the few who stay how few they are, not thousands of names."""
    users = [UUID(int=number) for number in range(1, 1_001)]
    quick.enter(*users)
    await until(lambda: quick.changes)
    for user in users[50:]:
        quick.presence.leave(user)

    await until(lambda: len(quick.changes) == 2)
    assert quick.changes == [{"count": 1_000}, {"count": 50}]

    for user in users[1:50]:
        quick.presence.leave(user)
    await until(lambda: len(quick.changes) == 3)
    assert (quick.changes[2]["count"], len(quick.changes[2]["left"])) == (1, 49)
