"""The secrets of a session that clients hold: refresh token and stream cookie.

Both are written `session.generation.mac`, an HMAC under the session's own secret. The store contains nothing usable,
and a lost refresh token can be generated again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from service.domain.auth.sessions import Session

Purpose = Literal["refresh", "stream"]

_GRANT: Final = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """The parts of such a text; they prove nothing until `authentic` has verified them."""

    session_id: UUID
    generation: int
    mac: str

    def authentic(self, purpose: Purpose, session: Session) -> bool:
        """Whether the session made this for that purpose; compares in constant time."""
        return hmac.compare_digest(self.mac, _mac(session, self.generation, purpose))


def issue(session: Session, purpose: Purpose) -> str:
    """The refresh token of the session's generation, or its cookie for streams."""
    # The cookie lives as long as the session, whatever its refresh tokens do: it has no generation of its own.
    generation = session.generation if purpose == "refresh" else 1
    return f"{session.id.hex}.{generation}.{_mac(session, generation, purpose)}"


def parse(text: str) -> Grant | None:
    """Read such a text; None when it is not one."""
    match = _GRANT.match(text)
    return match and Grant(UUID(match[1]), int(match[2]), match[3])


def _mac(session: Session, generation: int, purpose: Purpose) -> str:
    message = f"{purpose}.{session.id.hex}.{generation}".encode()
    digest = hmac.digest(session.secret, message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
