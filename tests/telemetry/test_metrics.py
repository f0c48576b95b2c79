"""What `/metrics` shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.exposition import render
from service.telemetry.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every figure by name and labels, as Prometheus reads them."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


def test_requests_are_counted_by_route_and_status() -> None:
    """Each request counts once, under its method, the template of its route and its status."""
    metrics = Metrics()
    for answered in (200, 200, 404):
        metrics.requests.observe("GET", "/v1/users/{id}", answered, 0.01)
    metrics.requests.observe("POST", "-", 405, 0.01)
    found = samples(metrics)

    for method, route, status, count in (
        ("GET", "/v1/users/{id}", "200", 2),
        ("GET", "/v1/users/{id}", "404", 1),
        ("POST", "-", "405", 1),
    ):
        assert found["roster_http_requests_total", labels(method=method, route=route, status=status)] == count


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_times_fall_into_buckets(times: list[float]) -> None:
    """A bucket counts the requests that took as long as its bound or less; all of them are in the last."""
    metrics = Metrics()
    for seconds in times:
        metrics.requests.observe("GET", "/", 200, seconds)
    found = samples(metrics)

    buckets = {
        dict(given)["le"]: value
        for (name, given), value in found.items()
        if name == "roster_http_request_duration_seconds_bucket"
    }
    assert {le: sum(seconds <= float(le) for seconds in times) for le in buckets} == buckets
    assert (
        buckets["+Inf"]
        == len(times)
        == found["roster_http_request_duration_seconds_count", labels(method="GET", route="/")]
    )
    assert found["roster_http_request_duration_seconds_sum", labels(method="GET", route="/")] == pytest.approx(
        sum(times)
    )


def test_made_up_methods_are_one_label() -> None:
    """However many methods clients invent, there is one label for them."""
    metrics = Metrics()
    for number in range(1000):
        metrics.requests.observe(f"METHOD{number}", "-", 405, 0.01)
    requests = {
        given: value for (name, given), value in samples(metrics).items() if name == "roster_http_requests_total"
    }

    assert requests == {labels(method="other", route="-", status="405"): 1000}


def test_applications_do_not_share_figures() -> None:
    """Many applications in one process count for themselves."""
    one, other = Metrics(), Metrics()
    one.logins.labels("ok").inc()

    assert samples(one)["roster_logins_total", labels(result="ok")] == 1
    assert ("roster_logins_total", labels(result="ok")) not in samples(other)


def test_figure_is_read_when_asked_for() -> None:
    """A figure that is watched shows what it is at the time of asking."""
    metrics = Metrics()
    depth = [3.0]
    metrics.watch("roster_depth", "How deep.", lambda: depth[0])
    assert samples(metrics)["roster_depth", ()] == 3
    depth[0] = 4
    assert samples(metrics)["roster_depth", ()] == 4


def test_process_shows_itself() -> None:
    """The process and its Python are among the figures."""
    names = {name for name, _ in samples(Metrics())}

    assert {"process_resident_memory_bytes", "python_info"} <= names


def test_every_counter_says_when_it_began() -> None:
    """Each series of a counter or a histogram has a `_created` sample, in both formats."""
    metrics = Metrics()
    metrics.requests.expect("GET", "/", (200, 500))
    metrics.requests.observe("GET", "/", 404, 0.01)
    metrics.logins.labels("ok")
    for parse, accept in (
        (text_string_to_metric_families, "*/*"),
        (openmetrics_families, "application/openmetrics-text"),
    ):
        found = {
            (sample.name, labels(**sample.labels))
            for family in parse(render(metrics.registry, accept)[0].decode())
            for sample in family.samples
            if sample.name.startswith("roster_")
        }
        counts = {(name, names) for name, names in found if name.endswith(("_total", "_count"))}
        assert len(counts) == 6
        for name, names in counts:
            assert (f"{name.removesuffix('_total').removesuffix('_count')}_created", names) in found
