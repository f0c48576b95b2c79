"""Time that a clock which is set back cannot stop."""

from __future__ import annotations

from datetime import timedelta

from service.domain.auth.sessions import RefreshTokenState, classify_refresh_token, rotated
from service.domain.steady_clock import SteadyClock
from tests.domain.test_sessions import a_session
from tests.support.clock import ManualClock


def test_grace_ends_although_the_clock_is_set_back() -> None:
    """The clock of the host goes back two hours after a rotation: ten seconds later the predecessor is refused, and so it is
    two hours later, when the host's clock shows the time of the rotation again."""
    wall, elapsed = ManualClock(), 0.0
    now = SteadyClock(wall, lambda: elapsed)
    session = rotated(a_session(), now())

    wall.advance(-7_200)
    assert now() == session.rotated_at
    for passed_s, found in (
        (9, RefreshTokenState.PREDECESSOR),
        (2, RefreshTokenState.REUSED),
        (7_189, RefreshTokenState.REUSED),
    ):
        wall.advance(passed_s)
        elapsed += passed_s
        assert classify_refresh_token(session, 1, now()) is found


def test_steady_clock_follows_its_clock_forward() -> None:
    """A clock that is set forward, as after the sleep of a machine, is right."""
    wall = ManualClock()
    now = SteadyClock(wall, lambda: 5.0)
    assert now() == wall()
    wall.advance(86_400)
    assert now() == wall()
    before = wall()
    wall.advance(-1)
    assert now() == before
    assert now() - wall() == timedelta(seconds=1)
