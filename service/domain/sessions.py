"""A session: one login, its refresh tokens, and the rule that catches a stolen one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

# Two tabs may refresh at once, and an answer may get lost: the predecessor still gets the same successor so long.
GRACE: Final = timedelta(seconds=10)
# Of one user; one more login ends the oldest. A program that logs in for every call must not fill the store.
MOST_SESSIONS: Final = 100


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        secret: 32 random bytes; refresh tokens and the stream cookie are HMACs under it, so that a successor can be
            made again and nothing usable has to be kept.
        generation: of the newest refresh token that was handed out, from 1.
        rotated_at: when that one was handed out.
        expires_at: when the session ends by itself.
    """

    id: UUID
    user_id: UUID
    secret: bytes
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime
    generation: int = 1


class Presented(enum.Enum):
    """What a refresh token of some generation means."""

    NEWEST = "rotate"
    PREDECESSOR = "answer with the same successor"
    REUSED = "end the session"


def judge(session: Session, generation: int, now: datetime) -> Presented:
    """What to do with a refresh token of that generation.

    The newest one rotates. The one before it is answered with the newest again for `GRACE`, unless the newest has
    been used (then it is no longer "the one before"). Anything older was copied by somebody (RFC 9700, 4.14.2).
    """
    if generation == session.generation:
        return Presented.NEWEST
    if generation == session.generation - 1 and now - session.rotated_at <= GRACE:
        return Presented.PREDECESSOR
    return Presented.REUSED


def rotated(session: Session, now: datetime) -> Session:
    return replace(session, generation=session.generation + 1, rotated_at=now)
