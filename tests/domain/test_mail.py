"""Tokens in mails, and when a mail is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.domain.mail.mail import (
    Mail,
    MailToken,
    is_expired,
    new_token,
    parse_token,
)
from tests.support.domain import a_user

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_token_names_its_user_and_is_random() -> None:
    """Two of one user have nothing else in common; each is read back with its hash."""
    user = a_user()
    (one, digest), (other, _) = new_token(user.id, NOW), new_token(user.id, NOW)

    assert parse_token(one) == (user.id, digest, NOW)
    assert one[:26] == other[:26]
    assert one[27:] != other[27:]
    assert len(digest) == 32


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "=", lambda t: "ä" + t[1:], lambda t: t + "\n", lambda _: ""],
)
def test_what_is_no_token_is_none(change: object) -> None:
    """Another length or alphabet is no spelling of one."""
    assert callable(change)
    assert parse_token(change(new_token(a_user().id, NOW)[0])) is None


def test_every_letter_of_a_token_counts() -> None:
    """There are no bits to spare: another letter anywhere is another token."""
    text, digest = new_token(a_user().id, NOW)
    for place in range(64):
        other = "A" if text[place] != "A" else "B"
        parsed = parse_token(text[:place] + other + text[place + 1 :])
        assert parsed is not None
        assert parsed.digest != digest


def test_token_carries_its_own_end() -> None:
    """Rounded up to a second; a later token of the same user does not prolong an earlier one, nor the other way round."""
    user = a_user()
    text, digest = new_token(user.id, NOW + timedelta(milliseconds=1))
    presented = parse_token(text)
    assert presented is not None
    assert presented.expires_at == NOW + timedelta(seconds=1)

    token = MailToken(user.id, "reset", user.email, NOW).with_newest(digest, NOW).with_newest(b"e" * 32, NOW + HOUR)
    assert (token.digests, token.expires_at) == ((b"e" * 32, digest), NOW + HOUR)
    assert not is_expired(token, presented, NOW)
    assert is_expired(token, presented, NOW + timedelta(seconds=1))
    assert is_expired(token, presented._replace(expires_at=NOW + 9 * HOUR), NOW + HOUR)


def test_end_beyond_four_bytes_is_cut() -> None:
    """In the year 2106 a token would need another byte."""
    presented = parse_token(new_token(a_user().id, datetime(9999, 1, 1, tzinfo=UTC))[0])
    assert presented is not None
    assert presented.expires_at.year == 2106


def test_mail_waits_longer_each_time() -> None:
    """A minute, five, a quarter of an hour, then an hour each time."""
    waits = [Mail("reset", "ada@example.com", NOW, NOW, tries).next_due for tries in range(1, 7)]
    assert waits == [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 60, 60)]
