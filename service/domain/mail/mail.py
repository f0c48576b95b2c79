"""Mails that wait to be sent, and the tokens by which their readers prove that an address is theirs.

A waiting mail holds no token: it is generated when the mail is sent, and only its hash is stored. So nothing that could be used
is stored anywhere. A mail that is sent again carries another token, and the earlier ones stay valid for their own time: any of
them may be the one that arrives.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from service.domain.errors import Unavailable

Notice = Literal["changed", "moved", "totp_on", "totp_off", "new_codes", "code_used"]
MailKind = Literal["verify", "known", "taken", "reset", "move", Notice]
Purpose = Literal["verify", "reset", "move"]

MailState = Literal["waiting", "sending", "sent"]

# A mail that the server does not accept is retried after these times; the last one repeats until the mail expires.
AGAIN: Final = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 900, 3600))

# Between two mails of a kind to one address: anyone can request them for the address of another person.
RESEND_INTERVAL: Final = timedelta(minutes=10)
# Valid tokens per user and purpose: more than are mailed in a day at that interval. Beyond it the oldest ends.
_DIGESTS_MAX: Final = 150
_DIGEST_SIZE: Final = 32
_EPOCH_MAX: Final = 2**32 - 1

_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{64}\Z", re.ASCII)


class MailRefused(Exception):
    """The mail server refused the recipient permanently; `str()` is for the log, and contains no secret."""


class SenderRefused(Unavailable):
    """The mail server refuses this service, not the recipient: the operator has to act, and the mail is retried."""

    def __init__(self, reply: str) -> None:
        super().__init__(1, reply)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was requested; there is one of a kind for an address.

    Attributes:
        kind: `verify`, `reset` and `move`, which asks an address whether an account may have it, carry a token; `known`
            informs an owner that a registration used its address, `taken` that a username exists, `changed` that a password
            is new, `moved` that the account has another address by now; `totp_on`, `totp_off`,
            `new_codes` and `code_used` what was done with the second factor.
        due_at: when to send it; when the claim of the process that sends it lapses; from when on one like it may be sent.
        expires_at: after this time the mail is not sent any more.
        tries: how often it was begun.
        state: which of the three `due_at` means, in this order: `waiting`, `sending`, `sent`.
    """

    kind: MailKind
    email: str
    due_at: datetime
    expires_at: datetime
    tries: int = 0
    state: MailState = "waiting"

    @property
    def next_due(self) -> timedelta:
        """How long after a failed try the next one begins."""
        return AGAIN[min(max(self.tries - 1, 0), len(AGAIN) - 1)]


@dataclass(frozen=True, slots=True)
class MailToken:
    """The tokens that a user was mailed for a purpose; using one ends all of them.

    Attributes:
        email: where they were sent: they prove nothing of another address.
        digests: SHA-256 of the text of each, the newest first; empty until the first is sent.
        expires_at: when the last of them expires; each token carries its own end.
    """

    user_id: UUID
    purpose: Purpose
    email: str
    expires_at: datetime
    digests: tuple[bytes, ...] = ()

    def with_newest(self, digest: bytes, expires_at: datetime) -> MailToken:
        """This after another token was generated."""
        digests = (digest, *self.digests)[:_DIGESTS_MAX]
        return replace(self, digests=digests, expires_at=max(expires_at, self.expires_at))


class MailTokenRef(NamedTuple):
    """A token that a client sends: the user and the end that it names, which the hash of the whole proves."""

    user_id: UUID
    digest: bytes
    expires_at: datetime


def new_token(user_id: UUID, expires_at: datetime) -> tuple[str, bytes]:
    """A token as text, and its hash: the id of the user, the end in seconds since 1970, and 224 random bits."""
    end = min(math.ceil(expires_at.timestamp()), _EPOCH_MAX)
    text = base64.urlsafe_b64encode(user_id.bytes + end.to_bytes(4) + secrets.token_bytes(28)).decode()
    return text, _digest(text)


def parse_token(text: str) -> MailTokenRef | None:
    """Read such a text; None when it is not one."""
    # 48 bytes are 64 letters without a bit to spare: a token has one spelling.
    if _TEXT.match(text) is None:
        return None
    content = base64.urlsafe_b64decode(text)
    expires_at = datetime.fromtimestamp(int.from_bytes(content[16:20]), UTC)
    return MailTokenRef(UUID(bytes=content[:16]), _digest(text), expires_at)


def is_expired(token: MailToken, presented: MailTokenRef, now: datetime) -> bool:
    """Whether one of a user's tokens has expired."""
    return min(token.expires_at, presented.expires_at) <= now


def join_digests(digests: tuple[bytes, ...]) -> bytes | None:
    """The hashes as one value; None for none."""
    return b"".join(digests) or None


def split_digests(joined: bytes | None) -> tuple[bytes, ...]:
    """What `join_digests` has joined."""
    joined = joined or b""
    return tuple(joined[start : start + _DIGEST_SIZE] for start in range(0, len(joined), _DIGEST_SIZE))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
