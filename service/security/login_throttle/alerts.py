"""Logs a warning when passwords are being guessed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from service.security.login_throttle.counters import Kind, ThrottleKey

log = logging.getLogger("roster.logins")

_EVERY_S: Final = 10.0


class ThrottleAlerts:
    """Hears of accounts, networks and pairs whose wait begins: each is counted, and a line now and then tells of one attempt.

    Args:
        count: called with the kind of each.
        clock: seconds, monotonic.
    """

    def __init__(self, count: Callable[[Kind], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._silent_until = 0.0
        self._untold = 0

    def __call__(self, keys: Sequence[ThrottleKey], waits: Sequence[ThrottleKey]) -> None:
        """`keys`: what the attempt was counted for; `waits`: those of them that have to wait from now on."""
        for key in waits:
            self._count(key.kind)
        now = self._clock()
        if now < self._silent_until:
            self._untold += 1
            return
        tried: dict[str, str] = {key.kind: _shown(key) for key in keys}
        extra = {**tried, "waits": [key.kind for key in waits], "others_since_last_line": self._untold}
        log.warning("too many failed logins", extra=extra)
        self._silent_until, self._untold = now + _EVERY_S, 0


def _shown(key: ThrottleKey) -> str:
    """An id or a network. What was typed for a login and is none may be a password in the wrong field."""
    if key.kind != "account":
        return key.name
    try:
        return str(UUID(key.name))
    except ValueError:
        return "unknown"
