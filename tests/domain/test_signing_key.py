"""How one key follows another without a token being refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.auth.signing_key import SigningKey, checks_until, signer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TTL = timedelta(minutes=15)


def key(name: str, signs_from_s: float | None) -> SigningKey:
    begins = None if signs_from_s is None else NOON + timedelta(seconds=signs_from_s)
    return SigningKey(name, "HS256", "x" * 32, NOON, begins)


KEYS = st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=6).map(
    lambda begins: [key(str(number), begin) for number, begin in enumerate(begins)]
)


@given(KEYS, st.integers(-10_000, 10_000), st.integers(0, 900), st.integers(-50, 50))
def test_token_of_the_key_that_signs_is_taken_all_its_life(
    keys: list[SigningKey], at_s: int, age_s: int, clock_off_s: int
) -> None:
    """Whichever key signs, by a clock that is a little off, it checks until what it signed has expired."""
    signed_at = NOON + timedelta(seconds=at_s)
    used = signer(keys, signed_at + timedelta(seconds=clock_off_s))

    assert used is not None
    until = checks_until(used, keys, TTL)
    assert until is None or until > signed_at + timedelta(seconds=age_s)


def test_key_that_began_last_signs() -> None:
    """One that is to begin does not sign yet; one that only checks never does."""
    first, second, coming, old = key("a", -60), key("b", -30), key("c", 30), key("d", None)
    keys = [coming, second, old, first]

    assert signer(keys, NOON) == second
    assert signer(keys, NOON + timedelta(seconds=30)) == coming
    assert signer([old], NOON) is None
    assert signer([], NOON) is None


def test_first_key_signs_by_a_clock_that_is_behind() -> None:
    """A key from a host with a fast clock signs at once if it is the only one."""
    assert signer([key("a", 30), key("b", 60)], NOON) == key("a", 30)


def test_key_is_forgotten_once_its_last_token_has_expired() -> None:
    """It is followed by the next one to begin, not by the last; one that nothing follows, or that only checks, stays."""
    first, second, third = key("a", 0), key("b", 100), key("c", 200)
    keys = [first, second, third]

    assert checks_until(first, keys, TTL) == NOON + timedelta(seconds=100 + 900 + 60)
    assert checks_until(second, keys, TTL) == NOON + timedelta(seconds=200 + 900 + 60)
    assert checks_until(third, keys, TTL) is None
    assert checks_until(key("d", None), keys, TTL) is None


def test_material_is_not_shown() -> None:
    """A printed key shows its name."""
    assert "x" * 32 not in repr(key("a", 0))
