"""Recovery codes: single-use replacements for a code of the app, for users who have lost their phone."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

COUNT: Final = 10

# Digits and letters but for i, l, o and u, which are read as others, or as words.
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
# 120 bits: from 112 on a plain hash will do (ASVS 5.0, 6.5.2).
_LENGTH: Final = 24
_GROUP: Final = 6
_FORM: Final = re.compile(rf"[{_LETTERS}]{{{_LENGTH}}}\Z", re.ASCII)


def make() -> list[str]:
    """New ones, as they are shown: `0f3k9d-…`, four groups."""
    return [_shown("".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))) for _ in range(COUNT)]


def digest_of(text: str) -> bytes | None:
    """The stored digest of a code, whatever its case and grouping; None for text that is no recovery code."""
    if not text.isascii():  # lower() makes a k of the Kelvin sign
        return None
    plain = text.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(plain.encode()).digest() if _FORM.match(plain) else None


def _shown(code: str) -> str:
    return "-".join(code[place : place + _GROUP] for place in range(0, _LENGTH, _GROUP))
