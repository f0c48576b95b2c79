"""The feed: every event after a position, over any number of connections."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from roster_client.errors import ConnectionFailed, HttpProblem, Incomplete, TimedOut
from roster_client.http import ApiClient
from roster_client.http.sse import SseEvent, SseParser
from roster_client.models import Event, Model
from roster_client.positions import Position

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0
IDLE_S: Final = 60.0
"""A stream that is silent for so long is broken: the service sends a `ping` every 15 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Model):
    """Events are lost to this reader. Read `resync` again; the feed continues after `position`."""

    reason: str
    position: str
    resync: str


async def read_feed(
    http: ApiClient, position: Position, types: str | None, limit: int | None
) -> AsyncGenerator[Event | Reset, None]:
    """Yield events, reconnecting without end. The position of an item is saved when the next one is asked for."""
    reader = _Reader()
    held = await asyncio.to_thread(position.load)
    left = limit
    while True:
        try:
            async with aclosing(reader.read_stream(http, held, types)) as items:
                async for item, place in items:
                    if item is not None:
                        yield item
                    if place is not None and place != held:
                        await asyncio.to_thread(position.save, place)
                        held = place
                    if left is not None and isinstance(item, Event):
                        left -= 1
                        if left == 0:
                            return
        except HttpProblem as problem:
            if problem.status < 500 and problem.status not in (408, 429):
                raise
            reader.fail(problem.retry_after_s)
        except (ConnectionFailed, Incomplete, TimedOut):
            reader.fail(None)
        await asyncio.sleep(reader.take_delay_s())


class _Reader:
    """Reads one stream after another, and knows how long to wait in between."""

    def __init__(self) -> None:
        self._failures = 0
        self._hint_s: float | None = None

    async def read_stream(
        self, http: ApiClient, after: str | None, types: str | None
    ) -> AsyncGenerator[tuple[Event | Reset | None, str | None], None]:
        """The items of one stream, each with the position after it; the item is None where only the position moves."""
        parser = SseParser()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        params = {"types": types, "after": after}
        async with http.open_stream("GET", "/v1/feed", params=params, headers=headers, idle_timeout_s=IDLE_S) as pieces:
            async for piece in pieces:
                for event in parser.parse(piece):
                    if event.type == "closing":
                        self._close(_read_json(event))
                        return
                    self._failures = 0
                    yield _read_item(event), event.id
        self.fail(None if parser.retry_ms is None else parser.retry_ms / 1000)

    def _close(self, closing: dict[str, Any]) -> None:
        after_ms = closing.get("reconnect_after_ms")
        if isinstance(after_ms, int):
            self._failures = 0
            self._hint_s = after_ms / 1000
        else:
            # Other credentials are needed, which the next request asks for. Once without a wait.
            self._hint_s = 0.0 if self._failures == 0 else None
            self._failures += 1

    def fail(self, hint_s: float | None) -> None:
        self._hint_s = hint_s
        self._failures += 1

    def take_delay_s(self) -> float:
        """Seconds to wait before the next stream: as the service says, else at random up to a bound that doubles."""
        if self._hint_s is not None:
            return self._hint_s
        bound = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(max(self._failures - 1, 0), 10))
        return random.uniform(0.0, bound)  # nosec B311  # no secret


def _read_item(event: SseEvent) -> Event | Reset | None:
    if event.type == "reset":
        return Reset.from_json(_read_json(event))
    if "." in event.type:
        return Event.from_json(_read_json(event))
    return None  # hello, ping, and types of later versions


def _read_json(event: SseEvent) -> dict[str, Any]:
    try:
        document = json.loads(event.data)
    except ValueError as error:
        raise Incomplete(f"The event {event.type} is not valid JSON.") from error
    if not isinstance(document, dict):
        raise Incomplete(f"The event {event.type} is not a JSON object.")
    return document
