"""The rule of waiting: what is free, how waits grow, and what is forgiven."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.values import Rate
from service.security.login_throttle.backoff import NONE, Backoff, Count

T0 = 1_000.0


def waits(backoff: Backoff, failures: int) -> list[float]:
    """How long each of so many failures has to be waited for, where the next comes as soon as it may."""
    count, now, found = NONE, T0, []
    for _ in range(failures):
        count = backoff.failed(count, now)
        found.append(backoff.until_next_s(count, 0, now))
        now += found[-1]
    return found


def test_waits_double() -> None:
    """Some failures are free; each later one doubles the wait, from a sixtieth of the window up to all of it."""
    assert waits(Backoff(Rate(3, 900)), 11) == [0, 0, 15, 30, 60, 120, 240, 480, 900, 900, 900]


@pytest.mark.parametrize(
    ("rate", "found"), [(Rate(1, 2), [1, 2, 2]), (Rate(2, 60), [0, 1, 2]), (Rate(1, 1), [1, 1, 1])]
)
def test_first_wait_is_a_second_at_least(rate: Rate, found: list[float]) -> None:
    """Short windows begin with a second, and never wait longer than the window."""
    assert waits(Backoff(rate), 3) == found


def test_failures_are_forgiven_one_by_one() -> None:
    """After a wait one failure is forgiven in each share of the window, none while it lasts, and nothing below none."""
    backoff = Backoff(Rate(10, 900))
    count = Count(10, T0)

    assert backoff.until_next_s(count, 0, T0 + 14) == pytest.approx(1)
    assert backoff.level(count, T0 + 15) == 10
    assert backoff.level(count, T0 + 15 + 90) == pytest.approx(9)
    assert backoff.level(count, T0 + 15 + 10_000) == 0


def test_seldom_failures_never_wait() -> None:
    """A client that fails once in each share of the window never has to wait."""
    backoff = Backoff(Rate(10, 900))
    count = NONE
    for number in range(1000):
        count = backoff.failed(count, T0 + 90 * number)
        assert backoff.until_next_s(count, 0, count.at) == 0


def test_what_is_under_way_may_fail() -> None:
    """No more attempts run at once than may fail without a wait; after a wait, one at a time."""
    backoff = Backoff(Rate(3, 900))

    assert [backoff.until_next_s(NONE, under_way, T0) > 0 for under_way in range(5)] == [False] * 3 + [True] * 2
    over = Count(5, T0)
    behind = T0 + backoff.wait_s(5)
    assert [backoff.until_next_s(over, under_way, behind) > 0 for under_way in range(2)] == [False, True]


@given(st.integers(1, 200), st.integers(1, 100_000), st.integers(1, 2000))
def test_no_wait_is_longer_than_the_window(most: int, seconds: int, failures: int) -> None:
    """However many have failed, the wait ends with the window, and the later failures are forgiven in finite time."""
    backoff = Backoff(Rate(most, seconds))
    count = NONE
    for _ in range(failures):
        count = backoff.failed(count, T0)

    assert 0 <= backoff.wait_s(count.level) <= seconds
    assert backoff.level(count, T0 + seconds + (most + 6) * seconds / most) == pytest.approx(0, abs=1e-6)
