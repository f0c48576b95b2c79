"""Further tries of idempotent calls, spaced by backoff with full jitter."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSSLError,
    ConnectionTimeoutError,
    Payload,
    SocketTimeoutError,
)

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_BUSY: Final = frozenset({429, 502, 503, 504})


class ConnectionLost(ClientConnectionError):
    """The connection ended before the answer, at the last try too.

    A class of its own because ClientSession runs all middlewares a second time when ServerDisconnectedError or
    ClientOSError comes out of an idempotent call: two retries were six tries.
    """


@dataclass(frozen=True, slots=True)
class Retry:
    """Client middleware: tries an idempotent call again after a broken connection, 429, 502, 503 or 504.

    Not tried again: a peer that took the request and is slow (it would get more of what it cannot do), TLS that
    fails (it will again), a body that can be sent only once.

    Attributes:
        retries: further tries; 0 for none, not even ClientSession's own.
        total_s: for all tries and waits until the answer begins, in seconds; over it TimeoutError. A wait that would
            reach over it is not begun: the caller gets the last answer or error at once.
        base_s: bound of the first wait, in seconds; it doubles with each try.
        max_wait_s: bound of any wait, in seconds. An answer whose `Retry-After` asks for more is handed to the
            caller: coming back sooner is what the upstream asked not to do.
        draw: a number from 0 to 1.
        sleep: waits so many seconds.
    """

    retries: int
    total_s: float
    base_s: float = 0.1
    max_wait_s: float = 2
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        deadline = asyncio.get_running_loop().time() + self.total_s
        async with asyncio.timeout_at(deadline):
            attempt = 0
            while True:
                wait_s = self._backoff_s(attempt)
                try:
                    response = await handler(request)
                except (SocketTimeoutError, ClientSSLError):
                    raise
                except ClientConnectionError as error:
                    if not self._may_repeat(request, attempt, wait_s, deadline):
                        if isinstance(error, (ClientConnectorError, ConnectionTimeoutError)):
                            raise
                        raise ConnectionLost(str(error)) from error
                else:
                    if response.status not in _BUSY:
                        return response
                    asked_s = retry_after_s(response.headers, time.time())
                    wait_s += asked_s
                    if asked_s > self.max_wait_s or not self._may_repeat(request, attempt, wait_s, deadline):
                        return response
                    response.release()
                # An answer may come before the body was sent whole; its writer ends before the next one rewinds the body.
                await request.close()
                await self.sleep(wait_s)
                attempt += 1

    def _backoff_s(self, attempt: int) -> float:
        # Full jitter: callers that failed together do not come back together. 2.0 ** 1024 is no float.
        return self.draw() * min(self.max_wait_s, self.base_s * 2.0 ** min(attempt, 64))

    def _may_repeat(self, request: ClientRequest, attempt: int, wait_s: float, deadline: float) -> bool:
        return (
            attempt < self.retries
            and request.method in _IDEMPOTENT
            and not (isinstance(request.body, Payload) and request.body.consumed)
            and asyncio.get_running_loop().time() + wait_s < deadline
        )


def retry_after_s(headers: Mapping[str, str], now: float) -> float:
    """Seconds that `Retry-After` asks for (RFC 9110, 10.2.3: a number or a date); 0 when it is absent, past or neither.

    Args:
        now: Unix time, in seconds.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    try:
        date = parsedate_to_datetime(text)
        # `-0000` gives a date without zone; it means UTC (RFC 5322, 3.3).
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return 0
