"""The access log: one line per request.

Lines come from a template instead of `logging`: with structlog the same line costs 0.2 of the whole read path.
No value needs escaping: each is the service's own, or was validated before.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Literal

from service.telemetry.logs import LineWriter, utc_ms

_Served = tuple[float, str, str, int, float, int, str, str | None, str, str | None]


class AccessLog:
    """Formats the lines of served requests in batches.

    A request only stores its values. Formatting many lines at once costs half of formatting them one by one between
    requests, and the writer's thread is woken once: each waking costs 12 µs.
    """

    def __init__(self, writer: LineWriter, form: Literal["json", "console"], every_s: float = 0.05) -> None:
        self._writer = writer
        self._every_s = every_s
        self._served: list[_Served] = []
        self._timer: asyncio.TimerHandle | None = None
        self._line = _json_line if form == "json" else _console_line

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
        problem: str | None,
    ) -> None:
        """Queue the line of one request.

        Args:
            seconds: from the parsed request head to the response.
            user: id of the user; None for a request without credentials.
            problem: slug of the problem in the response; None without a problem.
        """
        self._served.append(
            (time.time(), method, route, status, seconds, sent_bytes, request_id, user, client, problem)
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._flush)

    def close(self) -> None:
        """Write the queued lines. Call it before the writer closes; a second call does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()

    def _flush(self) -> None:
        self._timer = None
        served, self._served = self._served, []
        line = self._line
        self._writer.put(*[line(one) for one in served])
        self._writer.flush()


def _json_line(served: _Served) -> str:
    when, method, route, status, seconds, sent_bytes, request_id, user, client, problem = served
    quoted_user = "null" if user is None else f'"{user}"'
    refused = "" if problem is None else f',"problem":"{problem}"'
    return (
        f'{{"time":"{_stamp(int(when * 1000))}","level":"info","logger":"roster.access","msg":"request",'
        f'"method":"{method}","route":"{route}","status":{status},"ms":{seconds * 1000:.3f},'
        f'"bytes":{sent_bytes},"request_id":"{request_id}","user":{quoted_user},"client":"{client}"{refused}}}'
    )


def _console_line(served: _Served) -> str:
    when, method, route, status, seconds, sent_bytes, request_id, user, client, problem = served
    refused = "" if problem is None else f" problem={problem}"
    return (
        f"{time.strftime('%H:%M:%S', time.localtime(when))} {status} {method} {route} {seconds * 1000:.1f} ms "
        f"{sent_bytes} B id={request_id} user={user or '-'} client={client}{refused}"
    )


# A busy service writes some thirty lines in one millisecond.
_stamp = functools.lru_cache(16)(utc_ms)
