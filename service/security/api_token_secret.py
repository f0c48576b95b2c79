"""The text of an API token: `roster_`, 40 random letters and digits, and a checksum of 6.

Scanners for leaked secrets recognise tokens by this form and verify the checksum. A mistyped or truncated token
is rejected without a look-up in the store.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

BEGINNING: Final = "roster_"

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM: Final = 40  # of 62 letters and digits each: 238 bits
_CHECK: Final = 6  # hold 32 bits
_SHOWN: Final = len(BEGINNING) + 4  # of which a guess at the rest has 214 bits left
_FORM: Final = re.compile(rf"{BEGINNING}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECK}}})\Z", re.ASCII)


def make() -> str:
    """A new token."""
    body = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return f"{BEGINNING}{body}{_checksum(body)}"


def digest_of(token: str) -> bytes:
    """The digest that the store keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def checked_digest(text: str) -> bytes | None:
    """The digest of the token in this text; None for text that is no token."""
    match = _FORM.match(text)
    return None if match is None or match[2] != _checksum(match[1]) else digest_of(text)


def prefix(token: str) -> str:
    """How it begins: enough to know it again by."""
    return token[:_SHOWN]


def _checksum(body: str) -> str:
    """CRC-32 of the random part, written to the base 62 with the highest digit first."""
    number, written = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_DIGITS))
        written = _DIGITS[digit] + written
    return written
