"""One line a request.

Written from a template instead of through logging: with structlog the same line costs 0.2 of the whole read path.
Nothing in it needs escaping: every value is ours, or was checked before it got here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from service.telemetry.logs import Batch, utc


@dataclass(slots=True)
class Served:
    """A request that was answered. `seconds`: from the first byte of the request read to the answer made."""

    method: str
    route: str
    status: int
    seconds: float
    sent_bytes: int
    request_id: str
    user: UUID | None
    client: str


class AccessLog:
    """Turns served requests into lines."""

    def __init__(self, batch: Batch, form: Literal["json", "console"]) -> None:
        self._batch = batch
        self._json = form == "json"
        self._second = 0
        self._stamp = ""

    def put(self, served: Served) -> None:
        user = served.user
        if self._json:
            user_json = "null" if user is None else f'"{user}"'
            self._batch.put(
                f'{{"time":"{self._now()}","level":"info","logger":"roster.access","msg":"request",'
                f'"method":"{served.method}","route":"{served.route}","status":{served.status},'
                f'"ms":{served.seconds * 1000:.3f},"bytes":{served.sent_bytes},"request_id":"{served.request_id}",'
                f'"user":{user_json},"client":"{served.client}"}}'
            )
        else:
            self._batch.put(
                f"{time.strftime('%H:%M:%S')} {served.status} {served.method} {served.route} "
                f"{served.seconds * 1000:.1f} ms {served.sent_bytes} B id={served.request_id} "
                f"user={user or '-'} client={served.client}"
            )

    def _now(self) -> str:
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = utc(self._second)[:-5]
        return f"{self._stamp}.{int(now * 1000) % 1000:03d}Z"
