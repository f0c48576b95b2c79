"""How an API token is written."""

from __future__ import annotations

import hashlib
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from service.security import api_token_secret

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = api_token_secret.make()


def test_token_has_the_promised_form() -> None:
    """The pattern for scanners: 40 random letters and digits, and their CRC-32 in base 62 after them."""
    for _ in range(100):
        token = api_token_secret.make()
        match = re.fullmatch(r"roster_([0-9A-Za-z]{40})([0-9A-Za-z]{6})", token)
        assert match is not None
        number = 0
        for letter in match[2]:
            number = number * 62 + LETTERS.index(letter)
        assert number == zlib.crc32(match[1].encode())


def test_no_two_tokens_are_equal() -> None:
    """Nor do they begin alike, by more than chance."""
    tokens = [api_token_secret.make() for _ in range(1000)]

    assert len(set(tokens)) == 1000
    assert len({api_token_secret.prefix(token) for token in tokens}) > 950
    assert {len(api_token_secret.prefix(token)) for token in tokens} == {11}


def test_digest_is_of_the_whole_token() -> None:
    """The store keeps the SHA-256 of the text that is sent."""
    assert api_token_secret.checked_digest(TOKEN) == hashlib.sha256(TOKEN.encode()).digest()


@given(st.integers(7, len(TOKEN) - 1), st.sampled_from(LETTERS))
def test_one_wrong_letter_is_noticed(place: int, letter: str) -> None:
    """A token with a letter mistyped is none: the checksum tells, without a look at what is kept."""
    bent = TOKEN[:place] + letter + TOKEN[place + 1 :]

    assert (api_token_secret.checked_digest(bent) is None) is (bent != TOKEN)


@given(st.text() | st.from_regex(r"roster_[0-9A-Za-z]{46}"))
def test_other_texts_are_none(text: str) -> None:
    """Whatever the text, it is judged and never stumbled over."""
    assert api_token_secret.checked_digest(text) is None


def test_nothing_may_stand_around_it() -> None:
    """One token has one spelling."""
    for other in (
        f" {TOKEN}",
        f"{TOKEN} ",
        f"{TOKEN}\n",
        f"{TOKEN}=",
        TOKEN.upper(),
        TOKEN[:-1],
        f"{TOKEN}0",
        "roster_",
    ):
        assert api_token_secret.checked_digest(other) is None
