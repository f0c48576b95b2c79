"""The catalogue of endings."""

from __future__ import annotations

import re

import pytest

from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason

ENDINGS = [value for value in vars(close_reasons).values() if isinstance(value, CloseReason)]


def test_every_ending_has_its_own_word() -> None:
    """A program can tell all endings apart by the reason, which stands in metrics and logs as it is."""
    reasons = [ending.reason for ending in ENDINGS]

    assert len(set(reasons)) == len(reasons) > 10
    assert all(re.fullmatch(r"[a-z_]{4,30}", reason) for reason in reasons)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.reason)
def test_code_says_whether_to_come_back(ending: CloseReason) -> None:
    """Codes are those of the contract; coming back makes sense exactly where their table says so."""
    may_come_back = {
        1000: True,
        1008: False,
        1011: True,
        1012: True,
        1013: True,
        4401: ending is close_reasons.RIGHTS_CHANGED,  # the others need new credentials first
        4403: False,
        4408: True,
        4429: True,
    }
    assert ending.reconnect is may_come_back[ending.code]
