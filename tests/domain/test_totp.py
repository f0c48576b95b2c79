"""Codes that change with the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyotp import HOTP, TOTP

from service.domain.auth.totp import (
    STEP_S,
    SecondFactor,
    new_secret,
    step_of,
    uri,
)

# RFC 6238, appendix B, for SHA-1: of its eight digits an app of six shows the last ones.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = {59: "287082", 1111111109: "081804", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"}
SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=32, max_size=32)
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(("second", "code"), RFC_CODES.items())
def test_codes_are_those_of_the_standard(second: int, code: str) -> None:
    """At the moments that RFC 6238 tells."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert step_of(RFC_SECRET, code, moment) == second // STEP_S


@given(
    secret=SECRETS,
    now=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),
    offset=st.integers(-5, 5),
)
def test_code_is_good_in_its_step_and_those_beside_it(secret: str, now: datetime, offset: int) -> None:
    """A code is valid in its own step and in the steps beside it, to the microsecond, and the step is returned."""
    step = int(now.timestamp()) // STEP_S + offset
    code = HOTP(secret).at(step)
    near = [HOTP(secret).at(step - offset + beside) for beside in (-1, 0, 1)]
    found = step_of(secret, code, now)

    if abs(offset) <= 1:
        # Two steps may have the same code, once in a million: then the earlier is returned.
        assert found == step - offset - 1 + near.index(code)
    else:
        assert (found is not None) is (code in near)


@pytest.mark.parametrize("groups", [[6], [3, 3], [2, 2, 2], [0, 6, 0]])
def test_spaces_make_no_difference(groups: list[int]) -> None:
    """A code may be sent as an app shows it."""
    digits = iter(TOTP(RFC_SECRET).at(NOW))
    assert step_of(RFC_SECRET, " ".join("".join(islice(digits, size)) for size in groups), NOW) is not None


@pytest.mark.parametrize(
    "turn",
    [
        lambda code: code[:5],
        lambda code: code + "0",
        lambda code: "0" + code,
        lambda code: "".join(chr(ord(digit) + 0xFF10 - 0x30) for digit in code),  # full width
        lambda code: "".join(chr(ord(digit) + 0x660 - 0x30) for digit in code),  # Arabic
        lambda code: code + "\n",
        lambda code: code + "\0",
        lambda code: code[:3] + "\u00a0" + code[3:],
        lambda code: code[:3] + "-" + code[3:],
        lambda code: "+" + code[1:],
        lambda _: "",
        lambda _: " " * 6,
    ],
)
def test_nothing_else_is_a_code(turn: Callable[[str], str]) -> None:
    """One spelling, but for spaces: six digits of ASCII."""
    assert step_of(RFC_SECRET, turn(TOTP(RFC_SECRET).at(NOW)), NOW) is None


def test_secret_cannot_be_guessed() -> None:
    """160 random bits, another each time, and not in what is printed of it."""
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(TOTP(secret).byte_secret()) == 20 for secret in made)
    secret = made.pop()
    assert secret not in repr(SecondFactor(secret))


def test_uri_is_what_apps_read() -> None:
    """Type, issuer and account in the label, the issuer once more beside the secret, and nothing that an app would not know."""
    parts = urlsplit(uri(RFC_SECRET, "roster.example.com", "ada"))
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == ("otpauth", "totp", "/roster.example.com:ada")
    assert parse_qs(parts.query) == {"secret": [RFC_SECRET], "issuer": ["roster.example.com"]}
