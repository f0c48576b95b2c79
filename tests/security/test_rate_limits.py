"""Limits: how much passes, when the next one does, and that memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.values import Rate
from service.domain.errors import TooMany
from service.security import rate_limits
from service.security.networks import network_of
from service.security.rate_limits import MailLimit, RequestLimit

T0 = 1_000.0


def passes(limit: RequestLimit, key: object, now: float) -> bool:
    try:
        limit.hit(key, now)
    except TooMany:
        return False
    return True


def test_burst_up_to_the_limit_passes() -> None:
    """As many as the limit pass at once, what is left counts down to nothing, and the next one is refused."""
    limit = RequestLimit("address", Rate(10, 60))

    assert [limit.remaining(limit.hit("a", T0))[0] for _ in range(10)] == list(range(9, -1, -1))
    with pytest.raises(TooMany):
        limit.hit("a", T0)
    assert passes(limit, "b", T0)


def test_refusal_says_when_to_come_back() -> None:
    """A request after the stated time is served, an earlier one is not, and asking costs nothing."""
    limit = RequestLimit("address", Rate(10, 60))
    for _ in range(10):
        limit.hit("a", T0)
    with pytest.raises(TooMany) as refused:
        limit.hit("a", T0)
    wait_s = refused.value.retry_after_s

    assert 0 < wait_s <= 6 + 1e-3
    assert not any(passes(limit, "a", T0 + wait_s * share) for share in (0.1, 0.5, 0.9))
    assert passes(limit, "a", T0 + wait_s + 0.01)


def test_allowance_is_whole_again_after_the_time() -> None:
    """After the whole time the whole number passes again."""
    limit = RequestLimit("address", Rate(10, 60))
    for _ in range(10):
        limit.hit("a", T0)

    assert sum(passes(limit, "a", T0 + 60.01) for _ in range(20)) == 10


@given(st.integers(1, 50), st.integers(1, 100), st.lists(st.floats(0, 30), max_size=200))
def test_no_stretch_of_time_sees_much_more_than_the_limit(most: int, seconds: int, pauses: list[float]) -> None:
    """In any stretch as long as the limit's at most twice as many pass, whatever the rhythm, and the first always does."""
    limit = RequestLimit("address", Rate(most, seconds))
    now, passed = T0, []
    for pause in [0.0, *pauses]:
        now += pause
        if passes(limit, "a", now):
            passed.append(now)

    assert passed[0] == T0
    for began in passed:
        assert sum(began <= when < began + seconds for when in passed) <= 2 * most


@given(st.integers(1, 100), st.integers(1, 1000))
def test_announced_limit_is_the_limit(most: int, seconds: int) -> None:
    """The number left is how many more pass at once."""
    limit = RequestLimit("address", Rate(most, seconds))
    left, reset_s = limit.remaining(limit.hit("a", T0))

    assert sum(passes(limit, "a", T0) for _ in range(most + 1)) == left == most - 1
    assert 1 <= reset_s <= seconds + 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over so many keys those whose allowance is whole are forgotten; where none is, all new ones share one."""
    monkeypatch.setattr(rate_limits, "_MOST_KEYS", 10)
    limit = RequestLimit("address", Rate(2, 60))
    for number in range(10):
        limit.hit(number, T0)
    shared = [passes(limit, f"new {number}", T0) for number in range(10)]
    known = passes(limit, 3, T0)
    later = [passes(limit, f"later {number}", T0 + 61) for number in range(9)]

    assert shared == [True, True] + [False] * 8
    assert known
    assert all(later)


def test_mails_count_for_address_and_network() -> None:
    """Each address and each network has its own; the refusal says when to come back."""
    limit = MailLimit(Rate(2, 3600))
    for number in range(2):
        limit.hit(f"192.0.2.{number}", "ada@example.com")
        limit.hit("192.0.2.9")
    for client, address in (("192.0.2.3", "ada@example.com"), ("192.0.2.9", "bob@example.com"), ("192.0.2.9", None)):
        with pytest.raises(TooMany) as refused:
            limit.hit(client, address)
        assert 1000 < refused.value.retry_after_s <= 1800
    limit.hit("192.0.2.4", "bob@example.com")


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
        ("192.0.2.1:80", "192.0.2.1:80"),
    ],
)
def test_network_of(client: str, network: str) -> None:
    """An IPv4 address counts alone, in either spelling, an IPv6 one with the /64 that one subscriber holds."""
    assert network_of(client) == network
