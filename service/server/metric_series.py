"""The labelled series that exist from the start, and the gauges that are read on collection.

Prometheus computes `increase()` from the difference of two samples, so it misses the first event of a series that appears with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final, get_args

from service.domain.mail.mail import MailKind
from service.http import problems
from service.http.operations import Operation
from service.realtime import close_reasons
from service.realtime.close_reasons import CloseReason
from service.realtime.hub import Hub
from service.realtime.rooms.rooms import AnyRooms
from service.security.login_throttle.counters import Kind
from service.server.peers import REASONS
from service.telemetry.metrics import Metrics

_STREAMS: Final = ("feed", "websocket")
_LOGINS: Final = (
    problems.INVALID_CREDENTIALS,
    problems.OTP_REQUIRED,
    problems.INVALID_OTP,
    problems.TOO_MANY,
    problems.SERVICE_UNAVAILABLE,
    problems.INSUFFICIENT_STORAGE,
)
_REFRESHES: Final = (problems.INVALID_GRANT, problems.SERVICE_UNAVAILABLE, problems.INSUFFICIENT_STORAGE)


def create_series(metrics: Metrics, operations: Iterable[tuple[str, str, Operation]]) -> None:
    """Set every series whose labels are known in advance to zero.

    Of requests these are the successful statuses of each operation and 500. The other statuses, and the histograms, appear with
    the first request: all of them together would be some thousands of lines.

    Args:
        operations: route template, method and operation.
    """
    reasons = ["left", *(ending.reason for ending in vars(close_reasons).values() if isinstance(ending, CloseReason))]
    for kind in _STREAMS:
        metrics.streams.labels(kind)
    for kind, reason in product(_STREAMS, reasons):
        metrics.streams_closed.labels(kind, reason)
    for result in ("ok", *(kind.code for kind in _LOGINS)):
        metrics.logins.labels(result)
    for result in ("ok", "reused", *(kind.code for kind in _REFRESHES)):
        metrics.refreshes.labels(result)
    for kind in get_args(Kind):
        metrics.login_throttled.labels(kind)
    for reason in REASONS:
        metrics.connections_refused.labels(reason)
    for change in ("on", "off", "removed", "codes"):
        metrics.second_factors.labels(change)
    for mail, outcome in product(get_args(MailKind), ("sent", "failed", "refused", "expired", "needless")):
        metrics.mails.labels(mail, outcome)
    for template, method, operation in operations:
        metrics.requests.expect(method.upper(), template, (*operation.replies, 500))


def watch_gauges(metrics: Metrics, hub: Hub, rooms: AnyRooms) -> None:
    """Read these gauges from the parts themselves whenever metrics are collected."""
    metrics.watch("roster_event_log_head", "Seq of the newest event that readers can see.", lambda: hub.ring.head)
    metrics.watch(
        "roster_feed_live_readers",
        "Readers of the feed at the head of the log; all other readers are detached.",
        lambda: sum(1 for _ in hub.live_readers()),
    )
    metrics.watch(
        "roster_event_log_lag_seconds", "Seconds since the event log was last followed.", lambda: hub.silent_s
    )
    metrics.watch("roster_rooms", "Rooms with members, readers or history.", lambda: len(rooms))
    metrics.watch("roster_engine_lag_seconds", "Seconds since shared rooms were last followed.", lambda: rooms.lag_s)
