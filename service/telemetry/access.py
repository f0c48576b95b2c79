"""One line a request.

Written from a template instead of through logging: with structlog the same line costs 0.2 of the whole read path.
Nothing in it needs escaping: every value is ours, or was checked before it got here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from service.telemetry.logs import LineWriter, utc_ms


class AccessLog:
    """Turns served requests into lines, and hands them on a few times a second.

    Waking the writer's thread for each line costs 12 µs.
    """

    def __init__(self, writer: LineWriter, form: Literal["json", "console"], every_s: float = 0.1) -> None:
        self._writer = writer
        self._every_s = every_s
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._json = form == "json"
        self._made_at = 0
        self._stamp = ""

    def put(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        sent_bytes: int,
        request_id: str,
        user: str | None,
        client: str,
    ) -> None:
        """Write the line of a request that was answered. `seconds`: from its head read to the answer made."""
        if self._json:
            who = "null" if user is None else f'"{user}"'
            line = (
                f'{{"time":"{self._now()}","level":"info","logger":"roster.access","msg":"request",'
                f'"method":"{method}","route":"{route}","status":{status},"ms":{seconds * 1000:.3f},'
                f'"bytes":{sent_bytes},"request_id":"{request_id}","user":{who},"client":"{client}"}}'
            )
        else:
            line = (
                f"{time.strftime('%H:%M:%S')} {status} {method} {route} {seconds * 1000:.1f} ms {sent_bytes} B "
                f"id={request_id} user={user or '-'} client={client}"
            )

        self._lines.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._hand_on)

    def _hand_on(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        self._writer.put(*lines)
        self._writer.flush()

    def _now(self) -> str:
        # Made once a millisecond: a busy service writes some thirty lines in one.
        now = int(time.time() * 1000)
        if now != self._made_at:
            self._made_at = now
            self._stamp = utc_ms(now)
        return self._stamp
