"""Why a stream ends, for both kinds of stream: WebSocket close codes and the `reason` that `closing` tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CloseReason:
    """One way for a stream to end.

    Attributes:
        code: WebSocket close code.
        reason: word for programs, in `closing`, in the close frame, in logs and metrics.
        reconnect: whether coming back makes sense; when it does, `closing` says after how long.
    """

    code: int
    reason: str
    reconnect: bool


POLICY: Final = CloseReason(1008, "too_many_errors", reconnect=False)
FAULT: Final = CloseReason(1011, "internal_error", reconnect=True)
RESTART: Final = CloseReason(1012, "restart", reconnect=True)
FEED_FAILED: Final = CloseReason(1013, "feed_failed", reconnect=True)
UNAUTHENTICATED: Final = CloseReason(4401, "unauthenticated", reconnect=False)
EXPIRED: Final = CloseReason(4401, "expired", reconnect=False)
SESSION_ENDED: Final = CloseReason(4401, "session_ended", reconnect=False)
RIGHTS_CHANGED: Final = CloseReason(4401, "rights_changed", reconnect=True)
ACCOUNT_GONE: Final = CloseReason(4403, "account_gone", reconnect=False)
WRONG_USER: Final = CloseReason(4403, "wrong_user", reconnect=False)
TOO_SLOW: Final = CloseReason(4408, "too_slow", reconnect=True)
TOO_MANY_MESSAGES: Final = CloseReason(4429, "too_many_messages", reconnect=True)
TOO_MANY_REQUESTS: Final = CloseReason(4429, "too_many_requests", reconnect=True)
TOO_MANY_CONNECTIONS: Final = CloseReason(4429, "too_many_connections", reconnect=True)
LIMIT: Final = CloseReason(1000, "limit", reconnect=True)
