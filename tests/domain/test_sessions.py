"""The rule that catches a stolen refresh token."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth.sessions import (
    GRACE,
    Origin,
    RefreshTokenState,
    Session,
    classify_refresh_token,
    rotated,
)
from tests.support.clock import ManualClock

SECONDS = st.floats(0, 1_000_000)


def a_session(generation: int = 1) -> Session:
    now = ManualClock()()
    return Session(uuid.uuid4(), uuid.uuid4(), b"s" * 32, now, now + timedelta(days=30), now, generation)


@given(st.integers(1, 1000), SECONDS)
def test_newest_rotates_however_old_it_is(generation: int, age_s: float) -> None:
    """The newest refresh token renews until the session ends."""
    session = a_session(generation)

    assert (
        classify_refresh_token(session, generation, session.rotated_at + timedelta(seconds=age_s))
        is RefreshTokenState.NEWEST
    )


@given(st.integers(2, 1000), SECONDS)
def test_predecessor_is_answered_for_ten_seconds(generation: int, age_s: float) -> None:
    """The one before the newest gets the same successor for ten seconds, the last of them included, and no longer."""
    session = a_session(generation)
    late = timedelta(seconds=age_s) > timedelta(seconds=10)

    found = classify_refresh_token(session, generation - 1, session.rotated_at + timedelta(seconds=age_s))

    assert found is (RefreshTokenState.REUSED if late else RefreshTokenState.PREDECESSOR)


@given(st.integers(1, 1000), st.integers(-5, 2000), SECONDS)
def test_every_other_generation_was_copied(generation: int, presented: int, age_s: float) -> None:
    """A token that is neither the newest nor the one before it is in the wrong hands."""
    session = a_session(generation)

    found = classify_refresh_token(session, presented, session.rotated_at + timedelta(seconds=age_s))

    assert (found is RefreshTokenState.REUSED) or presented in (generation, generation - 1)


@given(st.integers(2, 1000))
def test_using_the_successor_ends_the_grace(generation: int) -> None:
    """Once the newest has been used, its predecessor is no longer the one before the newest, however soon that was."""
    session = a_session(generation)
    after = rotated(session, session.rotated_at)

    assert classify_refresh_token(after, generation - 1, session.rotated_at) is RefreshTokenState.REUSED


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


@given(st.lists(SECONDS, max_size=20))
def test_refresh_puts_the_end_off_and_never_beyond(waits_s: list[float]) -> None:
    """Each refresh gives the session the idle time again, up to the moment at which it ends anyhow."""
    now, idle = ManualClock()(), timedelta(days=5)
    session = replace(a_session(), expires_at=now + idle, absolute_expires_at=now + timedelta(days=30))
    for wait_s in waits_s:
        now += timedelta(seconds=wait_s)
        if now >= session.expires_at:
            break
        session = rotated(session, now, idle)
        assert session.expires_at == min(now + idle, session.created_at + timedelta(days=30))


def test_session_from_before_ends_when_it_would_have() -> None:
    """One that says nothing of how long it may be put off is not."""
    session = a_session()

    assert rotated(session, session.created_at, timedelta(days=50)).expires_at == session.expires_at


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("Fox 🦊", "Fox 🦊"),
        ("a\x00b\x1b[31m\r\n\t\x7f\x85", "a?b?[31m?????"),
        ("a\u202eb\u200bc\ufeff\u2028\u00a0", "a?b?c???"),
        ("\udcff\ud800", "??"),
        ("x" * 201, "x" * 200),
        ("", None),
    ],
)
def test_origin_is_fit_to_be_shown(sent: str, kept: str | None) -> None:
    """The client's name is bounded, and contains no invisible character and none that a database refuses."""
    assert Origin.of("192.0.2.1", sent) == Origin("192.0.2.1", kept)
    assert Origin.of("", sent).client is None


@given(st.integers(2, 1000), st.floats(10.001, 1_000_000))
def test_clock_that_was_set_back_gives_no_grace(generation: int, back_s: float) -> None:
    """A predecessor that is shown before its rotation, by more than two hosts differ, is not answered."""
    session = a_session(generation)

    assert (
        classify_refresh_token(session, generation - 1, session.rotated_at - timedelta(seconds=back_s))
        is RefreshTokenState.REUSED
    )
