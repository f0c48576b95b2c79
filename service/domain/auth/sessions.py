"""A session: one login, its refresh tokens, and the rule that catches a stolen one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

# Two tabs may refresh at once, and an answer may get lost: the predecessor still gets the same successor so long.
GRACE: Final = timedelta(seconds=10)
AGENT_MAX: Final = 200  # code points of a `User-Agent` that are kept
CLIENT_MAX: Final = 64
# Of one user; one more login ends the oldest. A program that logs in for every call must not fill the store.
MOST_SESSIONS: Final = 100


@dataclass(frozen=True, slots=True)
class Origin:
    """The client of a session, by which a user recognises it; None: unknown.

    Attributes:
        client: address.
        agent: what it calls itself, without anything that could not be shown; claimed, never checked.
    """

    client: str | None = None
    agent: str | None = None

    @classmethod
    def of(cls, client: str, agent: str) -> Origin:
        """From what a request says; characters that print nothing, or turn what stands around them, become `?`."""
        shown = "".join(letter if letter.isprintable() else "?" for letter in agent[:AGENT_MAX])
        return cls(client[:CLIENT_MAX] or None, shown or None)


UNKNOWN: Final = Origin()


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        secret: 32 random bytes; refresh tokens and the stream cookie are HMACs under it, so that a successor can be
            made again and nothing usable has to be kept.
        generation: of the newest refresh token that was handed out, from 1.
        rotated_at: when that one was handed out.
        expires_at: when the session ends by itself; a refresh puts it off.
        absolute_expires_at: when it ends however often it is refreshed; None: no refresh puts `expires_at` off.
        origin: where its newest refresh token was handed out to.
    """

    id: UUID
    user_id: UUID
    secret: bytes
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime
    generation: int = 1
    absolute_expires_at: datetime | None = None
    origin: Origin = UNKNOWN


class RefreshTokenState(enum.Enum):
    """The state of a refresh token, by its generation."""

    NEWEST = "rotate"
    PREDECESSOR = "answer with the same successor"
    REUSED = "end the session"


def classify_refresh_token(session: Session, generation: int, now: datetime) -> RefreshTokenState:
    """What to do with a refresh token of that generation.

    The newest one rotates. The one before it is answered with the newest again for `GRACE`, unless the newest has
    been used (then it is no longer "the one before"). Anything older was copied (RFC 9700, 4.14.2).
    `now` may lie before the rotation, by as much as the clocks of two hosts differ, but no more: a clock that was set back
    must not prolong `GRACE`.
    """
    if generation == session.generation:
        return RefreshTokenState.NEWEST
    if generation == session.generation - 1 and abs(now - session.rotated_at) <= GRACE:
        return RefreshTokenState.PREDECESSOR
    return RefreshTokenState.REUSED


def rotated(session: Session, now: datetime, idle: timedelta | None = None, origin: Origin = UNKNOWN) -> Session:
    """The session with its next refresh token.

    Args:
        idle: how long it lasts from now without another refresh; None: as long as it would have.
    """
    expires_at = session.expires_at
    if idle is not None and session.absolute_expires_at is not None:
        expires_at = min(now + idle, session.absolute_expires_at)
    return replace(session, generation=session.generation + 1, rotated_at=now, expires_at=expires_at, origin=origin)
