"""Codes on paper."""

from __future__ import annotations

import pytest

from service.domain.auth import recovery_codes

CODE = "0f3k9d-7yw2hm-c4x8pa-6tq1nz"


def test_codes_cannot_be_guessed() -> None:
    """Ten at a time, each of 120 random bits in letters that are not mistaken for others."""
    made = [code for _ in range(100) for code in recovery_codes.make()]
    assert len(made) == len(set(made)) == 1000
    assert {len(code) for code in made} == {27}
    assert set("".join(made)) == set("0123456789abcdefghjkmnpqrstvwxyz-")
    assert len({recovery_codes.digest_of(code) for code in made}) == 1000


@pytest.mark.parametrize("text", [CODE.upper(), CODE.replace("-", ""), CODE.replace("-", " "), f" {CODE} "])
def test_case_and_groups_make_no_difference(text: str) -> None:
    """However it is typed from the paper, it is the same code."""
    digest = recovery_codes.digest_of(text)
    assert digest is not None
    assert digest == recovery_codes.digest_of(CODE)


@pytest.mark.parametrize(
    "text",
    ["", "123456", CODE[:-1], CODE + "0", CODE[:-1] + "u", CODE[:-1] + "\u212a", CODE + "\n", CODE + "\0", "é" * 24],
)
def test_nothing_else_is_one(text: str) -> None:
    """Text that cannot be a code is not looked up."""
    assert recovery_codes.digest_of(text) is None
