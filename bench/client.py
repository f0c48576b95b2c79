"""A small load generator: kept-alive connections, one request at a time on each, answers cut by Content-Length."""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, cast

import uvloop

_OK: Final = (b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """The results of all connections together.

    Attributes:
        latencies_s: from the write of a request to the last byte of its answer, one for each 200 or 201.
        failures: other answers, answers without a length, connections that broke.
        seconds: how long it took.
    """

    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    failures: int = 0
    seconds: float = 0.0

    def percentile_s(self, percent: int) -> float:
        """The least latency that at least so many percent do not exceed; 0 when there is none."""
        if not self.latencies_s:
            return 0.0
        ranked = sorted(self.latencies_s)
        return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


class Connection(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again, until it is stopped. One that fails is not opened again.

    Args:
        pause_s: from an answer to the next request.
    """

    def __init__(self, requests: Iterator[bytes], tally: Tally, pause_s: float = 0.0) -> None:
        self._requests = requests
        self._tally = tally
        self._pause_s = pause_s
        self._answer = bytearray()
        self._sent_at = 0.0
        self._stopped = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._stopped or self._transport is None:
            return
        self._answer += data
        head_end = self._answer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._answer, 0, head_end + 2)
        if length is None:
            # Chunked, or without a length: the end of the body is unknown here.
            self._fail()
            return
        if len(self._answer) < head_end + 4 + int(length[1]):
            return
        if self._answer.startswith(_OK):
            self._tally.latencies_s.append(perf_counter() - self._sent_at)
        else:
            self._tally.failures += 1
        self._answer.clear()
        if self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._ask, self._transport)
        else:
            self._ask(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._stopped:
            self._stopped = True
            self._tally.failures += 1

    def stop(self) -> None:
        """Count nothing from now on, and close. Twice does no harm."""
        self._stopped = True
        if self._transport is not None:
            self._transport.abort()

    def _ask(self, transport: asyncio.WriteTransport) -> None:
        if self._stopped:
            return
        self._sent_at = perf_counter()
        transport.write(next(self._requests))

    def _fail(self) -> None:
        self._tally.failures += 1
        self.stop()


def run(host: str, port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Tally:
    """Send one request after another for that long; blocks meanwhile."""
    return uvloop.run(_run(host, port, requests, connections, seconds))


async def _run(host: str, port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Tally:
    tally = Tally()
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    started_at = perf_counter()
    try:
        for _ in range(connections):
            try:
                _, connection = await loop.create_connection(lambda: Connection(requests, tally), host, port)
            except OSError:
                tally.failures += 1
            else:
                opened.append(connection)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - (perf_counter() - started_at)):
                await loop.create_future()
    finally:
        for connection in opened:
            connection.stop()
    tally.seconds = perf_counter() - started_at
    return tally
