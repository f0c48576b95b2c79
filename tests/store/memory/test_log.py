"""The log of the memory store, and its two bounds."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.events.event import Event
from service.domain.events.query import EventQuery
from service.store.memory.log import MemoryLog, _size
from tests.support.domain import a_user, created

ALL = 1_000_000
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def weight(event: Event) -> int:
    """The size of an event: a kilobyte and the text of its user."""
    user = event.user
    return 1_000 + (len(user.username) + len(user.email) + len(user.name) if user else 0)


@given(
    keep_events=st.integers(1, 8),
    keep_bytes=st.integers(1, 12_000),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5_000), st.integers(0, 4)), max_size=30),
)
def test_log_holds_what_fits(keep_events: int, keep_bytes: int, steps: list[tuple[int, int, int]]) -> None:
    """After any appends and redactions the newest events are held, as many as fit into both bounds, one at least."""
    users = [a_user() for _ in range(4)]
    log = MemoryLog(keep_events, keep_bytes)
    held: list[Event] = []
    for seq, (who, length, redacted) in enumerate(steps, 1):
        event = created(replace(users[who], name="x" * length))
        assert log.append(event) == event.at(seq)
        held.append(event.at(seq))
        while len(held) > keep_events or (len(held) > 1 and sum(map(weight, held)) > keep_bytes):
            del held[0]
        if redacted < len(users):
            log.redact(users[redacted].id)
            log.redact_some()
            held = [each.redacted() if each.subject == users[redacted].id else each for each in held]

        assert log.position.seq == seq
        assert log.first == held[0].seq
        assert log.page(EventQuery(0, ALL)).events == held
        for user in users:
            assert log.page(EventQuery(0, ALL, subject=user.id)).events == [
                each for each in held if each.subject == user.id
            ]


@given(st.integers(1, 30), st.data())
def test_page_is_read_from_the_nearer_end(size: int, data: st.DataObject) -> None:
    """A page comes out in order from wherever it is, the parts that are no longer held left out."""
    log = MemoryLog(20, ALL)
    for _ in range(size):
        log.append(created(a_user()))
    after = data.draw(st.integers(0, size + 2))
    upto = data.draw(st.none() | st.integers(0, size + 2))
    limit = data.draw(st.integers(1, 30))
    page = log.page(EventQuery(after, limit, upto))

    wanted = list(range(max(after + 1, log.first), min(size, size if upto is None else upto) + 1))
    assert [event.seq for event in page.events] == wanted[:limit]
    assert page.first == max(1, size - 19)
    assert page.seen >= after


def test_empty_log_begins_behind_its_head() -> None:
    """A log that holds nothing begins with the event that comes next."""
    log = MemoryLog(10, ALL)

    assert (log.position.seq, log.first) == (0, 1)


def test_event_larger_than_the_bound_is_held_alone() -> None:
    """The newest event is held however large it is: its readers have not seen it yet."""
    log = MemoryLog(10, 1_500)
    log.append(created(a_user()))
    log.append(created(a_user(name="x" * 10_000)))

    assert [event.seq for event in log.page(EventQuery(0, ALL)).events] == [2]


def test_redaction_frees_its_share() -> None:
    """Memory that redaction frees makes room for other events."""
    ada = a_user(name="x" * 5_000)
    log = MemoryLog(10, 9_000)
    log.append(created(ada))
    log.redact(ada.id)
    log.redact_some()
    for _ in range(7):
        log.append(created(a_user()))

    assert log.first == 1


def test_what_was_held_goes_little_by_little() -> None:
    """When its last hold ends, a long log is not trimmed all at once."""
    log = MemoryLog(10, ALL)
    log.hold({uuid.uuid4(): NOW + timedelta(seconds=1)}, NOW)
    for _ in range(510):
        log.append(created(a_user()))
    assert log.first == 1
    log.hold({}, NOW + timedelta(seconds=2))
    lengths = []
    for _ in range(10):
        log.append(created(a_user()))
        lengths.append(log.position.seq - log.first + 1)
    assert lengths == [411, 312, 213, 114, 15, 10, 10, 10, 10, 10]


def test_held_log_has_a_bound_of_its_own() -> None:
    """However long it is held, the log has four times the bytes it may have otherwise, and no more."""
    log = MemoryLog(5, 10_000)
    log.append(created(a_user()))
    log.hold({uuid.uuid4(): NOW + timedelta(hours=1)}, NOW)
    for _ in range(30):
        log.append(created(a_user()))
    assert log.first == 2
    for _ in range(100):
        log.append(created(a_user()))
    held = log.page(EventQuery(0, ALL)).events
    assert 35 < len(held) < 40
    assert sum(map(weight, held)) <= 40_000


def test_copies_of_a_deleted_user_are_shown_no_more_and_go_little_by_little() -> None:
    """However many events a user has, its deletion costs as much as that of few; the log shows no copy from then on, keeps none
    in the end, and counts the bytes of what it keeps."""
    log, user, other = MemoryLog(100_000, 1 << 30), a_user(name="x" * 100), a_user()
    for _ in range(2_000):
        log.append(Event("user.updated", user.updated_at, None, user.id, user, ("name",)))
    log.append(Event("user.deleted", user.updated_at, None, user.id))
    log.redact(user.id)
    log.redact_some()
    assert sum(event.user is not None for event in log._events) == 1_501
    assert {event.user for event in log.page(EventQuery(0, 10_000)).events} == {None}

    for _ in range(5):
        log.append(created(other))
        log.redact_some()
    assert sum(event.user is not None for event in log._events) == 5
    assert log._bytes == sum(map(_size, log._events))
    assert [event.user is None for event in log.page(EventQuery(2_000, 10)).events] == [True] + [False] * 5
