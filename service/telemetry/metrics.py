"""What `/metrics` shows, in Prometheus' words.

Requests are counted in plain integers and converted to metrics on each scrape: `labels()` and a locked histogram for
each request cost 0.15 of the read path.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNT_AT: Final = 1_000
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class _Served:
    """Requests of one method and route.

    Attributes:
        statuses: requests by status.
        times: requests in each bucket, then all seconds together.
        created: by status, when its count began, in seconds since 1970.
    """

    __slots__ = ("created", "statuses", "times")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.created: dict[int, float] = {}
        self.times = [0.0] * (len(_BOUNDS_S) + 2)


class RequestMetrics(Collector):
    """Requests by method, route template and status, and how long they took."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], _Served] = {}
        self._observed: list[tuple[str, str, int, float]] = []

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. The values are only stored: counting many at once costs a third of one by one."""
        self._observed.append((method, route, status, seconds))
        if len(self._observed) >= _COUNT_AT:
            self._count()

    def _count(self) -> None:
        observed, self._observed = self._observed, []
        for method, route, status, seconds in observed:
            served = self._served.get((method, route))
            if served is None:
                # Whatever clients make up must not become a label.
                key = (method if method in _METHODS else "other", route)
                served = self._served.setdefault(key, _Served())
            count = served.statuses.get(status)
            if count is None:
                served.created[status] = time.time()
            served.statuses[status] = (count or 0) + 1
            served.times[bisect_left(_BOUNDS_S, seconds)] += 1
            served.times[-1] += seconds

    def expect(self, method: str, route: str, statuses: Iterable[int]) -> None:
        """Begin to count these statuses at zero."""
        served = self._served.setdefault((method, route), _Served())
        for status in statuses:
            served.statuses.setdefault(status, 0)
            served.created.setdefault(status, time.time())

    def collect(self) -> Iterator[Metric]:
        self._count()
        requests = CounterMetricFamily(
            "roster_http_requests", "Requests answered, by route template.", labels=("method", "route", "status")
        )
        took = HistogramMetricFamily(
            "roster_http_request_duration_seconds",
            "Time from request to answer; for streams, how long they lasted.",
            labels=("method", "route"),
        )
        for (method, route), served in self._served.items():
            for status, count in served.statuses.items():
                requests.add_metric((method, route, str(status)), count, created=served.created[status])
            if not any(served.times):
                continue
            total, buckets = 0.0, []
            for bound, inside in zip((*map(str, _BOUNDS_S), "+Inf"), served.times, strict=False):
                total += inside
                buckets.append((bound, total))
            took.add_metric((method, route), buckets, served.times[-1])
            names = {"method": method, "route": route}
            took.add_sample("roster_http_request_duration_seconds_created", names, min(served.created.values()))
        yield requests
        yield took


class Metrics:
    """All metrics of one application; nothing is registered process-wide, so tests may build many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = RequestMetrics()
        self.registry.register(self.requests)
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        self.streams = Gauge("roster_streams", "Open streams.", ("kind",), registry=self.registry)
        self.streams_closed = Counter(
            "roster_streams_closed",
            "Streams that the service ended, by reason.",
            ("kind", "reason"),
            registry=self.registry,
        )
        self.logins = Counter("roster_logins", "Login attempts, by result.", ("result",), registry=self.registry)
        self.refreshes = Counter(
            "roster_refreshes",
            "Refreshes of tokens, by result; `reused`: a token came back after it was used up, and its session has ended.",
            ("result",),
            registry=self.registry,
        )
        self.login_throttled = Counter(
            "roster_login_throttled",
            "Accounts, networks, IPv6 sites and known pairs of account and network that began to wait after failed logins.",
            ("kind",),
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "roster_connections_refused",
            "Connections closed before a request was read, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.descriptors_exhausted = Counter(
            "roster_descriptors_exhausted",
            "Connections that took one of the last file descriptors.",
            registry=self.registry,
        )
        self.second_factors = Counter(
            "roster_second_factors",
            "Changes of second factors: turned on, turned off, removed by an administrator, new recovery codes.",
            ("change",),
            registry=self.registry,
        )
        self.mails = Counter(
            "roster_emails",
            "Mails, by what they are for and what became of them.",
            ("kind", "outcome"),
            registry=self.registry,
        )

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Show a figure that is read when asked for."""
        Gauge(name, help_text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)
