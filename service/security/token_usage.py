"""When API tokens were last used: noted while requests are served, written now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from service.domain.auth.api_token import USE_TOLD_EVERY
from service.domain.errors import Unavailable
from service.domain.ports import Clock, Store
from service.server.tasks import Tasks

_WRITE_INTERVAL_S: Final = USE_TOLD_EVERY.total_seconds()
_MOST_NOTED: Final = 10_000

log = logging.getLogger("roster.tokens")


class TokenUsageRecorder:
    """Writes the time of each token's last use, at most once per minute, in the background.

    If the process ends or the store fails, a minute of one column is lost; no rule depends on it.

    Args:
        monotonic: seconds that never go back.
    """

    def __init__(
        self, store: Store, clock: Clock, tasks: Tasks, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._monotonic = monotonic
        self._noted: dict[UUID, datetime] = {}
        self._written_at: dict[UUID, float] = {}  # the least recently written is first
        self._is_writing = False

    def note(self, token_id: UUID) -> None:
        """Note that a token is used now. Costs one look-up if it was written within the minute."""
        if token_id not in self._written_at and token_id not in self._noted and len(self._noted) < _MOST_NOTED:
            self._noted[token_id] = self._clock()

    def write_due(self) -> None:
        """Start to write what was noted. Call it at least once a second; it does not wait."""
        now = self._monotonic()
        while self._written_at and now - self._written_at[first := next(iter(self._written_at))] >= _WRITE_INTERVAL_S:
            del self._written_at[first]
        if self._noted and not self._is_writing:
            noted, self._noted = self._noted, {}
            self._written_at |= dict.fromkeys(noted, now)
            self._is_writing = True
            _ = self._tasks.start(self._write(noted), "write token last-used times")

    async def _write(self, noted: dict[UUID, datetime]) -> None:
        try:
            await self._store.api_tokens.record_uses(noted)
        except Unavailable as error:
            log.debug("cannot persist token last-used times: %s", error)
        except Exception:
            log.exception("cannot persist token last-used times")
        finally:
            self._is_writing = False
