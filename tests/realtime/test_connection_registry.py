"""The registry of open streams: whom it ends, when, and why. Time is an argument here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import uuid_utils.compat

from service.domain.events.event import EndReason, Event
from service.realtime import close_reasons
from service.realtime.connection_registry import ConnectionRegistry
from service.realtime.subscribers import FULL_BYTES
from service.server.tasks import Tasks
from service.telemetry.metrics import Metrics
from tests.support.domain import a_user, updated
from tests.support.streams import FakeStream, a_principal
from tests.support.wait import BUSY_S, until

ABORT_AFTER_S = 5.0


class Registry(ConnectionRegistry):
    """With the intervals of tests, and metrics to look at."""

    def __init__(
        self, *, most_per_user: int = 0, slow_client_timeout_s: float = 30, most_buffered: int = 1 << 30
    ) -> None:
        self.metrics = Metrics()
        super().__init__(
            self.metrics,
            most_per_user=most_per_user,
            count_everywhere=None,
            tasks=Tasks(),
            slow_client_timeout_s=slow_client_timeout_s,
            most_buffered=most_buffered,
            keepalive_s={"feed": 15, "websocket": 25},
        )

    def opened(self, user_id: UUID | None = None, **kwargs: Any) -> FakeStream:
        stream = FakeStream(a_principal(user_id, **kwargs))
        self.add(stream)
        return stream

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample as `/metrics` shows it."""
        return self.metrics.registry.get_sample_value(name, labels)


def endings(streams: Sequence[FakeStream]) -> list[str | None]:
    return [stream.ending.reason if stream.ending else None for stream in streams]


def ended(user_id: UUID, session_id: UUID, reason: Any) -> Event:
    return Event("session.ended", datetime.now(UTC), user_id, user_id, session_id=session_id, reason=reason)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("logout", "session_ended"),
        ("reuse", "session_ended"),
        ("password", "session_ended"),
        ("deactivated", "account_gone"),
        ("deleted", "account_gone"),
    ],
)
def test_ended_session_ends_its_own_streams(reason: str, expected: str) -> None:
    """Every stream of that session ends, none of another session or user."""
    registry, user, session = Registry(), uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
    own = [registry.opened(user, session_id=session) for _ in range(2)]
    others = [registry.opened(user), registry.opened()]

    registry.follow(ended(user, session, reason))

    assert endings(own) == [expected] * 2
    assert endings(others) == [None, None]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("revoked", "session_ended"), ("deactivated", "account_gone"), ("deleted", "account_gone")],
)
def test_ended_token_ends_its_own_streams(reason: EndReason, expected: str) -> None:
    """Every stream of that API token ends, none of a session or of another token."""
    registry, user, token = Registry(), uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
    own = [registry.opened(user, session_id=token) for _ in range(2)]
    others = [registry.opened(user), registry.opened()]

    registry.follow(Event("token.ended", datetime.now(UTC), None, user, token_id=token, reason=reason))

    assert endings(own) == [expected] * 2
    assert endings(others) == [None, None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"role": "admin"}, "rights_changed"), ({"active": False}, "account_gone")],
)
def test_changed_rights_end_every_stream_of_the_user(fields: dict[str, Any], expected: str) -> None:
    """Whatever the session: a role or its loss is the user's."""
    registry, user = Registry(), a_user(**fields)
    own, other = [registry.opened(user.id), registry.opened(user.id)], registry.opened()

    registry.follow(updated(user, *fields))

    assert endings([*own, other]) == [expected, expected, None]


def test_deleted_user_ends_every_stream() -> None:
    """Nothing of an account that is gone goes on."""
    registry, user = Registry(), a_user()
    own, other = registry.opened(user.id), registry.opened()

    registry.follow(Event("user.deleted", datetime.now(UTC), None, user.id))

    assert endings([own, other]) == ["account_gone", None]


def test_renamed_user_goes_on_by_the_new_name() -> None:
    """A change that takes no right away ends nothing."""
    registry, user = Registry(), a_user(username="lovelace")
    own, other = registry.opened(user.id), registry.opened()

    registry.follow(updated(user, "username", "name"))

    assert endings([own, other]) == [None, None]
    assert own.principal.username == "lovelace" != other.principal.username


def test_first_reason_stands() -> None:
    """A stream gets one close reason, however many there are."""
    registry, user, session = Registry(), uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
    stream = registry.opened(user, session_id=session)

    registry.follow(ended(user, session, "logout"))
    registry.end_all(close_reasons.RESTART)

    assert stream.close_reason is close_reasons.SESSION_ENDED
    assert stream.reconnect_after_ms == 0


def test_hint_when_to_come_back_is_spread() -> None:
    """Streams that end together do not reconnect together."""
    registry = Registry()
    streams = [registry.opened() for _ in range(50)]

    registry.end_all(close_reasons.FEED_FAILED)

    hints = {stream.reconnect_after_ms for stream in streams}
    assert len(hints) > 20
    assert all(250 <= hint <= 2000 for hint in hints)


def test_one_stream_too_many_ends_and_the_others_stay() -> None:
    """The bound is per user; the newest goes, and a place that became free is taken by the next."""
    registry, user = Registry(most_per_user=2), uuid_utils.compat.uuid7()
    first, second, third = (registry.opened(user) for _ in range(3))
    other = registry.opened()
    assert endings([first, second, third, other]) == [None, None, "too_many_connections", None]

    registry.remove(third)
    registry.remove(first)
    assert endings([registry.opened(user)]) == [None]


def test_nothing_is_kept_of_a_stream_that_was_removed() -> None:
    """Removing is complete, counts the ending once, and is harmless a second time."""
    registry = Registry()
    left, gone = registry.opened(), registry.opened()
    gone.buffered = b"x" * FULL_BYTES
    registry.check(0, 0)
    gone.end(close_reasons.RESTART)
    registry.check(1, 0)
    for stream in (left, gone, gone):
        registry.remove(stream)

    assert len(registry) == 0
    kept = [
        value for value in vars(registry).values() if isinstance(value, (dict, set)) and value != registry._keepalive_s
    ]
    assert kept
    assert not any(kept)
    assert registry.metric("roster_streams_closed_total", kind="feed", reason="left") == 1
    assert registry.metric("roster_streams_closed_total", kind="feed", reason="restart") == 1
    assert registry.metric("roster_streams", kind="feed") == 0


def test_ping_comes_after_its_interval_and_not_into_a_full_socket() -> None:
    """Each kind has its own interval; what is full shows life by being read."""
    registry, begin = Registry(), time.monotonic()
    feed, full = registry.opened(), registry.opened()
    socket = FakeStream(kind="websocket")
    registry.add(socket)
    full.buffered = b"x" * FULL_BYTES

    for second in range(52):
        registry.check(begin + second + 0.5, 0)

    assert (feed.pings, socket.pings, full.pings) == (3, 2, 0)


def test_credentials_that_ran_out_end_their_stream() -> None:
    """The clock on the wall is asked, and a renewed principal counts."""
    registry = Registry()
    stream, renewed = registry.opened(expires_at=1000.0), registry.opened(expires_at=1000.0)
    registry.check(0, 999.9)
    assert endings([stream, renewed]) == [None, None]

    renewed.principal = a_principal(renewed.principal.caller.id, expires_at=2000.0)
    registry.check(1, 1000.0)
    assert endings([stream, renewed]) == ["expired", None]


def test_full_buffer_that_nothing_is_taken_from_ends_its_stream() -> None:
    """After `slow_client_timeout_s` without progress the stream ends, five seconds later it is torn down."""
    registry, stream, begin = Registry(slow_client_timeout_s=30), FakeStream(), time.monotonic()
    registry.add(stream)
    stream.write(b"x" * FULL_BYTES)

    registry.check(begin, 0)
    registry.check(begin + 29.9, 0)
    assert stream.ending is None
    registry.check(begin + 30, 0)
    assert endings([stream]) == ["too_slow"]
    assert not stream.aborted
    registry.check(begin + 34.9, 0)
    assert not stream.aborted
    registry.check(begin + 35, 0)
    assert stream.aborted


def test_slow_peer_that_reads_is_not_stuck() -> None:
    """A buffer that is filled up again as fast as it is read never shrinks, but its peer is alive."""
    registry, stream, begin = Registry(slow_client_timeout_s=30), FakeStream(), time.monotonic()
    registry.add(stream)
    stream.write(b"x" * FULL_BYTES)

    for second in range(300):
        stream.read(10)
        stream.write(b"x" * 20)
        registry.check(begin + second, 0)

    assert stream.ending is None


def test_buffer_below_full_is_never_stuck() -> None:
    """A peer that is still with little in its buffer is only quiet, and its time starts again when the buffer fills up."""
    registry, stream, begin = Registry(slow_client_timeout_s=30), FakeStream(), time.monotonic()
    registry.add(stream)
    stream.write(b"x" * FULL_BYTES)
    registry.check(begin, 0)
    stream.read(1)
    registry.check(begin + 29, 0)
    stream.write(b"x")
    registry.check(begin + 58, 0)
    registry.check(begin + 87, 0)
    assert stream.ending is None
    registry.check(begin + 88, 0)
    assert stream.ending is close_reasons.TOO_SLOW


def test_fullest_buffers_go_first_when_all_are_too_much() -> None:
    """Only as many are torn down as it takes to be within the bound, from the fattest on."""
    registry = Registry(most_buffered=1000)
    sizes = (100, 600, 300, 500, 200)
    streams = [registry.opened() for _ in sizes]
    for stream, size in zip(streams, sizes, strict=True):
        stream.write(b"x" * size)

    registry.check(0, 0)

    assert [stream.aborted for stream in streams] == [False, True, False, True, False]
    assert endings(streams) == [None, "too_slow", None, "too_slow", None]


def test_stream_that_does_not_end_is_torn_down() -> None:
    """Whatever the reason: five seconds after the first look at its ending it is gone."""
    registry, stream = Registry(), FakeStream()
    registry.add(stream)
    stream.end(close_reasons.SESSION_ENDED)

    registry.check(100, 0)
    registry.check(100 + ABORT_AFTER_S - 0.1, 0)
    assert not stream.aborted
    registry.check(100 + ABORT_AFTER_S, 0)
    assert stream.aborted


async def test_draining_ends_all_and_tears_down_who_stays() -> None:
    """Every stream receives `closing`, the later ones as they open; the drain ends as soon as all have left."""
    registry = Registry()
    leaving, staying = registry.opened(), registry.opened()
    drain = asyncio.create_task(registry.drain(0, 0.05))
    await until(lambda: leaving.close_reason and staying.close_reason)
    late = registry.opened()
    registry.remove(leaving)
    registry.remove(late)
    await drain

    assert endings([leaving, staying, late]) == ["restart"] * 3
    assert [stream.aborted for stream in (leaving, staying, late)] == [False, True, False]


async def test_draining_is_over_when_the_last_stream_has_gone() -> None:
    """It waits for the streams to leave, not for its timeout."""
    registry = Registry()
    stream = registry.opened()
    drain = asyncio.create_task(registry.drain(0, 3600))
    await until(lambda: stream.close_reason)
    registry.remove(stream)
    await asyncio.wait_for(drain, 5)

    assert not stream.aborted


async def test_anteroom_is_left_when_the_time_is_over_or_the_service_stops() -> None:
    """A connection that has not authenticated delays neither a place nor the exit."""
    registry, times = Registry(), []

    async def wait(timeout_s: float) -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with registry.pending_auth.wait("127.0.0.1", timeout_s):
                await asyncio.Event().wait()
        times.append(time.monotonic() - began)

    await wait(0.01)
    waiting = [asyncio.create_task(wait(3600)) for _ in range(2)]
    await asyncio.sleep(0)
    await registry.drain(0, 0)
    await asyncio.gather(*waiting)
    await wait(3600)
    assert max(times) < 5


async def test_watching_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """One check that fails is logged; the next one comes."""
    registry, looks = Registry(slow_client_timeout_s=0.04), 0

    def look() -> None:
        nonlocal looks
        looks += 1
        raise RuntimeError("a fault")

    watch = asyncio.create_task(registry.watch(look))
    await until(lambda: looks > 2)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)

    assert "check of open streams failed; will retry" in caplog.text


@pytest.mark.parametrize("count", [3, 400, 4000])
async def test_streams_end_spread_over_the_time(count: int) -> None:
    """However many they are: not all at once, and not later; each gets a reconnect time after the last has left."""
    registry = Registry(slow_client_timeout_s=10)
    streams = [FakeStream() for _ in range(count)]
    for stream in streams:
        registry.add(stream)
    began = time.monotonic()
    drain = asyncio.create_task(registry.drain(0.3, 1))
    await until(lambda: streams[count // 2].ending)
    half_s = time.monotonic() - began
    await until(lambda: streams[-1].ending)
    all_s = time.monotonic() - began
    for stream in streams:
        registry.remove(stream)
    await drain

    assert 0.05 < half_s < 0.28 + BUSY_S
    assert all_s < 0.6 + BUSY_S
    assert streams[0].reconnect_after_ms >= 250 + 250
