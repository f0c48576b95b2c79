"""Client of Roster, a user-account service with a live change feed."""

from roster_client.client import AsyncRoster
from roster_client.credentials import ApiToken, Login, Saved
from roster_client.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    Forbidden,
    HttpProblem,
    Incomplete,
    InsufficientScope,
    InvalidFields,
    NotFound,
    OtpRequired,
    PositionUnavailable,
    RateLimited,
    RosterError,
    ServiceUnavailable,
    TimedOut,
    Unauthenticated,
    VersionMismatch,
)
from roster_client.feed import Reset
from roster_client.http import RetryPolicy
from roster_client.mirror import AsyncMirror, Change
from roster_client.models import Event, Message, User
from roster_client.positions import FilePosition, MemoryPosition, Position
from roster_client.version import __version__

__all__ = [
    "AlreadyExists",
    "ApiToken",
    "AsyncMirror",
    "AsyncRoster",
    "Change",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "FilePosition",
    "Forbidden",
    "HttpProblem",
    "Incomplete",
    "InsufficientScope",
    "InvalidFields",
    "Login",
    "MemoryPosition",
    "Message",
    "NotFound",
    "OtpRequired",
    "Position",
    "PositionUnavailable",
    "RateLimited",
    "Reset",
    "RetryPolicy",
    "RosterError",
    "Saved",
    "ServiceUnavailable",
    "TimedOut",
    "Unauthenticated",
    "User",
    "VersionMismatch",
    "__version__",
]
