"""Which stream cookie belongs to which ticket: both name their session by a short hash of its id.

A browser in which two users are logged in holds one cookie for each session, and a spent ticket is accepted with the
cookie of its own session alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

COOKIE_PREFIX: Final = "roster_stream_"

_TICKET: Final = re.compile(r"([0-9a-f]{12})\.[A-Za-z0-9_-]{43}\Z", re.ASCII)
_NAME: Final = re.compile(r"roster_stream_[0-9a-f]{12}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamCookie:
    """The cookie of one session. `max_age_s`: how long the session lives, if it is refreshed in time."""

    name: str
    value: str
    max_age_s: int


def cookie_name(session_id: UUID) -> str:
    """The name of the stream cookie of a session."""
    return COOKIE_PREFIX + _short_hash(session_id)


def generate_ticket(session_id: UUID) -> str:
    """A new ticket, of 256 random bits, that names its session."""
    return f"{_short_hash(session_id)}.{secrets.token_urlsafe(32)}"


def cookie_name_of_ticket(ticket: str) -> str | None:
    """The name of the cookie with which this ticket is accepted once it is spent; None when the text is no ticket."""
    match = _TICKET.match(ticket)
    return match and COOKIE_PREFIX + match[1]


def select_stream_cookies(names: Iterable[str]) -> list[str]:
    """Those of the names that are names of stream cookies."""
    return [name for name in names if _NAME.match(name)]


def _short_hash(session_id: UUID) -> str:
    return hashlib.sha256(session_id.bytes).hexdigest()[:12]
