"""Mails that wait to be sent, and the tokens by which their readers prove that an address is theirs.

A waiting mail holds no token: that is made as the mail is sent, and only its hash is kept. So nothing that could be used
lies anywhere, and a mail that is sent again carries another token, which replaces the one before.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

Notice = Literal["changed", "moved", "totp_on", "totp_off", "new_codes", "code_used"]
MailKind = Literal["verify", "known", "taken", "reset", "move", Notice]
Purpose = Literal["verify", "reset", "move"]

# A mail that nobody takes is tried again so long after each try; the last one goes on until the mail expires.
AGAIN: Final = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 900, 3600))

_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{64}\Z", re.ASCII)


class MailRefused(Exception):
    """A mail that nobody will ever take; `str()` is for the log, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was asked for; there is one of a kind for an address, and asking again replaces it.

    Attributes:
        kind: `verify`, `reset` and `move`, which asks an address whether an account may have it, carry a token; `known`
            tells an owner that somebody wanted its address, `taken` that a username is taken, `changed` that a password
            is new, `moved` that the account has another address by now; `totp_on`, `totp_off`,
            `new_codes` and `code_used` what was done with the second factor.
        due_at: when to send it.
        expires_at: when nobody wants it any more.
        tries: how often it was begun.
    """

    kind: MailKind
    email: str
    due_at: datetime
    expires_at: datetime
    tries: int = 0

    @property
    def next_due(self) -> timedelta:
        """How long after this try another one is made, if nothing is heard of this one."""
        return AGAIN[min(self.tries, len(AGAIN) - 1)]


@dataclass(frozen=True, slots=True)
class MailToken:
    """What is known of a token in a mail; a user has one for each purpose.

    Attributes:
        email: where it was sent to: it proves nothing of another address.
        digest: SHA-256 of its text; None until it is sent.
        expires_at: when it is worth nothing any more.
    """

    user_id: UUID
    purpose: Purpose
    email: str
    expires_at: datetime
    digest: bytes | None = None


class Presented(NamedTuple):
    """What somebody shows: whose token it says it is, and the hash to find it by."""

    user_id: UUID
    digest: bytes


def new_token(user_id: UUID) -> tuple[str, bytes]:
    """A token of 256 random bits behind the id of its user, as text, and its hash."""
    text = base64.urlsafe_b64encode(user_id.bytes + secrets.token_bytes(32)).decode()
    return text, _digest(text)


def parse_token(text: str) -> Presented | None:
    """Read such a text; None when it is not one."""
    # 48 bytes are 64 letters without a bit to spare: a token has one spelling.
    if _TEXT.match(text) is None:
        return None
    return Presented(UUID(bytes=base64.urlsafe_b64decode(text)[:16]), _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
