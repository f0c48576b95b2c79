"""The texts of mails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from service.domain.mail.mail import MailKind, Purpose, new_token
from service.domain.mail.templates import TemplateContext, write
from tests.support.domain import a_user
from tests.support.mail import token_in

HEAD = TemplateContext("", "", dict.fromkeys(get_args(Purpose), timedelta(days=1)))
KINDS: tuple[MailKind, ...] = get_args(MailKind)


@pytest.mark.parametrize("kind", KINDS)
def test_letter_is_one_that_a_person_reads(kind: MailKind) -> None:
    """It has a subject of one line and a text of whole lines, and those with a token have it on a line of its own."""
    token, _ = new_token(a_user().id, datetime(2026, 11, 22, tzinfo=UTC))
    letter = write(HEAD, kind, "ada@example.com", "ada", token)

    assert letter.to == "ada@example.com"
    assert "\n" not in letter.subject
    assert letter.text.endswith(".\n")
    assert "  \n" not in letter.text
    if kind in get_args(Purpose):
        assert token_in(letter.text) == token
        assert f"/v1/auth/{'reset' if kind == 'reset' else 'verify'}, with this token" in letter.text
    else:
        assert token not in letter.text


def test_letter_names_the_service_and_links_to_its_pages() -> None:
    """If the link is configured, its token is in the fragment, which browsers send to no server."""
    head = TemplateContext("https://roster.example.com", "https://app.example.com/mail?lang=en", HEAD.ttls)
    token, _ = new_token(a_user().id, datetime(2026, 11, 22, tzinfo=UTC))
    letter = write(head, "verify", "ada@example.com", "ada", token)

    assert "the account ada at https://roster.example.com" in letter.text
    assert f"  https://app.example.com/mail?lang=en#verify={token}\n" in letter.text
    assert f"#verify={token}\n" in write(head, "move", "ada@example.com", "ada", token).text
    assert "to POST https://roster.example.com/v1/auth/verify" in letter.text
    assert token_in(letter.text) == token


def test_mail_about_a_known_address_fits_every_requester() -> None:
    """The mail fits a registration and an address change: it names neither."""
    text = write(HEAD, "known", "ada@example.com", "ada").text
    assert "wanted to use this address for an account. It has an account already; its username is ada." in text
    assert "regist" not in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(86400, "1 day"), (172800, "2 days"), (3600, "1 hour"), (5400, "90 minutes"), (60, "1 minute"), (1, "1 minute")],
)
def test_duration_is_written_in_words(seconds: int, said: str) -> None:
    """In the largest unit that is exact to the minute."""
    head = TemplateContext("", "", dict.fromkeys(get_args(Purpose), timedelta(seconds=seconds)))
    assert f"Within {said}, send" in write(head, "reset", "ada@example.com", "ada", "token").text
