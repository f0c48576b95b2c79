"""Tokens in mails, and when a mail is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.domain.mail import Mail, new_token, parse_token
from tests.support.domain import a_user

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def test_token_names_its_user_and_is_random() -> None:
    """Two of one user have nothing else in common; each is read back with its hash."""
    user = a_user()
    (one, digest), (other, _) = new_token(user.id), new_token(user.id)

    assert parse_token(one) == (user.id, digest)
    assert one[:21] == other[:21]
    assert one[22:] != other[22:]
    assert len(digest) == 32


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "=", lambda t: "ä" + t[1:], lambda t: t + "\n", lambda _: ""],
)
def test_what_is_no_token_is_none(change: object) -> None:
    """Another length or alphabet is no spelling of one."""
    assert callable(change)
    assert parse_token(change(new_token(a_user().id)[0])) is None


def test_every_letter_of_a_token_counts() -> None:
    """There are no bits to spare: another letter anywhere is another token."""
    text, digest = new_token(a_user().id)
    for place in range(64):
        other = "A" if text[place] != "A" else "B"
        parsed = parse_token(text[:place] + other + text[place + 1 :])
        assert parsed is not None
        assert parsed.digest != digest


def test_mail_waits_longer_each_time() -> None:
    """A minute, five, a quarter of an hour, then an hour each time."""
    waits = [Mail("reset", "ada@example.com", NOW, NOW, tries).next_due for tries in range(6)]
    assert waits == [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 60, 60)]
