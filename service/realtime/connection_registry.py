"""All open streams: how many each user has, which are stuck, which must end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from uuid import UUID

from service.domain.errors import Unavailable
from service.domain.events.event import Event
from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason
from service.realtime.connection import Connection
from service.realtime.pending_auth import PendingAuth
from service.realtime.rooms.room import Room
from service.realtime.subscribers import FULL_BYTES
from service.server.memory import trim_heap
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics

log = logging.getLogger("roster.streams")

_ABORT_AFTER_S = 5.0
_MANY = 200  # streams that have left, or as many as are still there: their memory is worth a pause
_QUIET_S = 3.0
_REST = 1_000  # times what giving back took: so seldom again, whatever streams come and go


class ConnectionRegistry:
    """The open streams of this process, checked at least once a second.

    Args:
        most_per_user: 0 for no bound.
        count_everywhere: takes a user and its number of streams in this process; returns the number in all processes, or raises
            `Unavailable`: then only this process is counted. None where this process is the only one.
        tasks: owns the tasks that count.
        slow_client_timeout_s: how long the socket of a full buffer may take nothing.
        most_buffered: bytes of all send buffers together; over it the fullest ends first.
        keepalive_s: by kind, how often a stream shows that it lives.

    Attributes:
        pending_auth: connections that have not authenticated yet.
        shutting_down: whether a shutdown was requested: load balancers should send no more requests.
        draining: how streams end that are open or open now; None while they may stay.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        most_per_user: int,
        count_everywhere: Callable[[UUID, int], Awaitable[int]] | None,
        tasks: Tasks,
        slow_client_timeout_s: float,
        most_buffered: int,
        keepalive_s: dict[str, float],
    ) -> None:
        self._metrics = metrics
        self._most_per_user = most_per_user
        self._count_everywhere = count_everywhere
        self._tasks = tasks
        self.slow_client_timeout_s = slow_client_timeout_s
        self._most_buffered = most_buffered
        self._keepalive_s = keepalive_s
        self._by_user: dict[UUID, set[Connection]] = {}
        self._pinged_at: dict[Connection, float] = {}
        self._stuck: dict[Connection, tuple[int, float]] = {}  # bytes that the socket had taken, and since when
        self._abort_at: dict[Connection, float] = {}
        # Often enough for the shortest of what is promised.
        self._check_interval_s = min(
            1.0, slow_client_timeout_s / 4, *(interval / 2 for interval in keepalive_s.values())
        )
        self._left = 0
        self._left_at = 0.0
        self._give_back_at = 0.0
        self.pending_auth = PendingAuth()
        self._empty = asyncio.Event()
        self._empty.set()
        self.shutting_down = False
        self.draining: CloseReason | None = None

    def __len__(self) -> int:
        return len(self._pinged_at)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._pinged_at)

    def transports(self) -> set[asyncio.Transport]:
        """The transports of all open streams."""
        return {connection.transport for connection in self._pinged_at}

    def add(self, connection: Connection) -> None:
        """Register an open stream; it is closed at once if it exceeds a limit."""
        of_user = self._by_user.setdefault(connection.principal.caller.id, set())
        of_user.add(connection)
        self._pinged_at[connection] = time.monotonic()
        self._empty.clear()
        self._metrics.streams.labels(connection.kind).inc()
        if self.draining is not None:
            connection.end(self.draining)
        elif self._most_per_user and len(of_user) > self._most_per_user:
            connection.end(close_reasons.TOO_MANY_CONNECTIONS)
        elif self._most_per_user and self._count_everywhere is not None:
            _ = self._tasks.start(self._check_everywhere(connection, self._count_everywhere), "count streams")

    async def _check_everywhere(
        self, connection: Connection, count_everywhere: Callable[[UUID, int], Awaitable[int]]
    ) -> None:
        """End a stream that is one too many of its user's in all processes together; say that another one has left."""
        user_id = connection.principal.caller.id
        with contextlib.suppress(Unavailable):
            count = await count_everywhere(user_id, len(self._by_user.get(user_id, ())))
            if count > self._most_per_user and connection in self._pinged_at:
                connection.end(close_reasons.TOO_MANY_CONNECTIONS)

    def remove(self, connection: Connection) -> None:
        """Forget a stream, and say how it ended."""
        user_id = connection.principal.caller.id
        of_user = self._by_user.get(user_id, set())
        if connection not in of_user:
            return
        of_user.discard(connection)
        if not of_user:
            del self._by_user[user_id]
        for book in (self._pinged_at, self._stuck, self._abort_at):
            book.pop(connection, None)
        if not self._pinged_at:
            self._empty.set()
        if self._most_per_user and self._count_everywhere is not None:
            _ = self._tasks.start(self._check_everywhere(connection, self._count_everywhere), "count streams")
        self._left += 1
        self._left_at = time.monotonic()
        self._metrics.streams.labels(connection.kind).dec()
        reason = connection.ending.reason if connection.ending else "left"
        self._metrics.streams_closed.labels(connection.kind, reason).inc()
        log.info("stream ended", extra=_fields(connection) | {"reason": reason})

    def follow(self, event: Event) -> None:
        """End the streams whose rights this event takes away; those of a user who was renamed go on by the new name."""
        streams = list(self._by_user.get(event.subject, ()))
        if not event.ends_access:
            for stream in streams:
                if event.user is not None:
                    stream.principal = replace(stream.principal, username=event.user.username)
            return
        match event.type:
            case "session.ended" | "token.ended":
                gone = event.reason in ("deleted", "deactivated")
                ending = close_reasons.ACCOUNT_GONE if gone else close_reasons.SESSION_ENDED
                ended = event.session_id or event.token_id
                streams = [stream for stream in streams if stream.principal.session_id == ended]
            case "user.updated" if event.user is not None and event.user.active:
                ending = close_reasons.RIGHTS_CHANGED
            case _:
                ending = close_reasons.ACCOUNT_GONE
        for stream in streams:
            stream.end(ending)

    def end_all(self, ending: CloseReason) -> None:
        for connection in list(self._pinged_at):
            connection.end(ending)

    def end_room_streams(self, spread_s: float) -> None:
        """End the streams that read rooms, spread over some seconds: the rooms cannot be followed."""
        streams = [
            stream for stream in self._pinged_at if any(isinstance(reader.log, Room) for reader in stream.readers)
        ]
        loop = asyncio.get_running_loop()
        for place, stream in enumerate(streams):
            loop.call_later(spread_s * place / len(streams), stream.end, close_reasons.FEED_FAILED)

    async def drain(self, spread_s: float, timeout_s: float) -> None:
        """End every stream, spread over some seconds, and whatever opens meanwhile; abort who is left after the timeout."""
        self.shutting_down = True
        self.draining = close_reasons.RESTART
        self.pending_auth.close()
        connections = list(self._pinged_at)
        over_at = time.monotonic() + spread_s
        for place, connection in enumerate(connections):
            # Against the clock: uvloop's timers count in milliseconds, and sleeping each share would add up to nothing.
            left_s = over_at - time.monotonic()
            due_s = spread_s * (1 - place / len(connections))
            if place and left_s - due_s > 0.001:
                await asyncio.sleep(left_s - due_s)
            elif not place % 50:
                await asyncio.sleep(0)
            # Not before the last stream has ended: a proxy would have no server to reconnect to.
            connection.end(close_reasons.RESTART, max(over_at - time.monotonic(), 0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        for connection in list(self._pinged_at):
            connection.abort()

    async def watch(self, *others: Callable[[], None]) -> None:
        """Check the streams, and run the other checks as often, until cancelled. A check that fails is logged."""
        while True:
            await asyncio.sleep(self._check_interval_s)
            for check in (lambda: self.check(time.monotonic(), time.time()), *others):
                try:
                    check()
                except Exception:
                    # The next check must come: nothing else ends streams that are stuck or have expired.
                    log.exception("check of open streams failed; will retry")

    def check(self, now: float, wall: float) -> None:
        """Ping each stream that is due, end those that are expired or stuck, abort those that do not end.

        Args:
            now: monotonic seconds.
            wall: seconds since 1970.
        """
        buffered = 0
        for connection, pinged_at in list(self._pinged_at.items()):
            size = connection.buffered_bytes
            buffered += size
            if connection.ending is not None:
                if now >= self._abort_at.setdefault(connection, now + _ABORT_AFTER_S):
                    connection.abort()
            elif connection.principal.expires_at <= wall:
                connection.end(close_reasons.EXPIRED)
            elif self._is_stuck(connection, size, now):
                self._end_slow(connection, size, now)
            elif now - pinged_at >= self._keepalive_s[connection.kind] and size < FULL_BYTES:
                self._pinged_at[connection] = now
                connection.ping()
        if buffered > self._most_buffered:
            self._end_fattest(buffered, now)
        is_quiet = now - self._left_at >= _QUIET_S and now >= self._give_back_at
        if self._left >= max(_MANY, len(self)) and is_quiet:
            self._left = 0
            self._give_back_at = now + trim_heap() * _REST

    def _is_stuck(self, connection: Connection, size: int, now: float) -> bool:
        if size < FULL_BYTES:
            self._stuck.pop(connection, None)
            return False
        # Not the buffer's size: what is read on for a slow peer fills up again what it took.
        taken = connection.sent_bytes - size
        before, since = self._stuck.get(connection, (taken, now))
        if taken > before:
            since = now
        self._stuck[connection] = (taken, since)
        return now - since >= self.slow_client_timeout_s

    def _end_fattest(self, buffered: int, now: float) -> None:
        for connection in sorted(self._pinged_at, key=lambda stream: stream.buffered_bytes, reverse=True):
            if buffered <= self._most_buffered:
                return
            size = connection.buffered_bytes
            buffered -= size
            self._end_slow(connection, size, now)
            connection.abort()

    def _end_slow(self, connection: Connection, size: int, now: float) -> None:
        if connection.ending is None:
            log.warning(
                "client reads too slowly; closing the stream", extra=_fields(connection) | {"buffered_bytes": size}
            )
            connection.end(close_reasons.TOO_SLOW)
            self._abort_at[connection] = now + _ABORT_AFTER_S


def _fields(connection: Connection) -> dict[str, object]:
    return {
        "kind": connection.kind,
        "connection": connection.id,
        "user": str(connection.principal.caller.id),
        "client": connection.client,
        "age_s": round(time.monotonic() - connection.opened_at, 1),
        "sent_bytes": connection.sent_bytes,
    }
