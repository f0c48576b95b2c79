"""The rule that catches a stolen refresh token."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.sessions import GRACE, Presented, Session, judge, rotated
from tests.support.clock import ManualClock

SECONDS = st.floats(0, 1_000_000)


def a_session(generation: int = 1) -> Session:
    now = ManualClock()()
    return Session(uuid.uuid4(), uuid.uuid4(), b"s" * 32, now, now + timedelta(days=30), now, generation)


@given(st.integers(1, 1000), SECONDS)
def test_newest_rotates_however_old_it_is(generation: int, age_s: float) -> None:
    """The newest refresh token renews until the session ends."""
    session = a_session(generation)

    assert judge(session, generation, session.rotated_at + timedelta(seconds=age_s)) is Presented.NEWEST


@given(st.integers(2, 1000), SECONDS)
def test_predecessor_is_answered_for_ten_seconds(generation: int, age_s: float) -> None:
    """The one before the newest gets the same successor for ten seconds, the last of them included, and no longer."""
    session = a_session(generation)
    late = timedelta(seconds=age_s) > timedelta(seconds=10)

    found = judge(session, generation - 1, session.rotated_at + timedelta(seconds=age_s))

    assert found is (Presented.REUSED if late else Presented.PREDECESSOR)


@given(st.integers(1, 1000), st.integers(-5, 2000), SECONDS)
def test_every_other_generation_was_copied(generation: int, presented: int, age_s: float) -> None:
    """A token that is neither the newest nor the one before it is in the wrong hands."""
    session = a_session(generation)

    found = judge(session, presented, session.rotated_at + timedelta(seconds=age_s))

    assert (found is Presented.REUSED) or presented in (generation, generation - 1)


@given(st.integers(2, 1000))
def test_using_the_successor_ends_the_grace(generation: int) -> None:
    """Once the newest has been used, its predecessor is no longer the one before the newest, however soon that was."""
    session = a_session(generation)
    after = rotated(session, session.rotated_at)

    assert judge(after, generation - 1, session.rotated_at) is Presented.REUSED


def test_rotation_changes_nothing_else() -> None:
    """A rotation counts on and notes when; the session neither moves nor lives longer."""
    session = a_session()
    after = rotated(session, session.rotated_at + timedelta(seconds=5))

    assert (after.generation, after.rotated_at) == (2, session.rotated_at + timedelta(seconds=5))
    assert (after.id, after.user_id, after.secret, after.created_at, after.expires_at) == (
        session.id,
        session.user_id,
        session.secret,
        session.created_at,
        session.expires_at,
    )
    assert timedelta(seconds=10) == GRACE
