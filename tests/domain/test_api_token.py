"""How long an API token lives."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.clock import ManualClock
from tests.support.domain import a_user
from tests.support.stores import a_token

NOW = ManualClock()()


@pytest.mark.parametrize(
    ("ends_in", "lives"),
    [(None, True), (timedelta(microseconds=1), True), (timedelta(), False), (timedelta(microseconds=-1), False)],
)
def test_token_lives_until_its_end(ends_in: timedelta | None, lives: bool) -> None:
    """A token is invalid from the moment at which it expires; one without an end never expires."""
    token = a_token(a_user(), NOW, expires_at=None if ends_in is None else NOW + ends_in)
    assert token.lives(NOW) is lives
