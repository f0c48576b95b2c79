"""Health checks and metrics."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from service.config.load import load
from service.config.settings import SettingsError
from service.http.services import SERVICES
from service.realtime.hub import Hub
from service.server.runner import Runner
from service.server.serve import make_runner
from service.store.memory.store import MemoryStore
from tests.support.server import Server, serve, settings_for_tests


async def test_health_is_public_and_never_kept(server: Server) -> None:
    """Both checks need no credentials, and no cache keeps the response."""
    for path in ("/health/live", "/health/ready"):
        async with server.request("GET", path) as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
            assert answer.headers["Cache-Control"] == "no-store"
        async with server.request("HEAD", path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


async def not_ready(server: Server) -> str:
    """Why the service is not ready; it must be alive all the same."""
    async with server.request("GET", "/health/ready") as answer:
        problem = await answer.json()
    assert (answer.status, problem["type"]) == (503, "/problems/service-unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    await server.json("GET", "/health/live")
    return str(problem["detail"])


async def test_service_that_stops_is_not_ready(server: Server) -> None:
    """From the moment at which streams are closed, load balancers should send no further requests."""
    server.app[SERVICES].connections.shutting_down = True

    assert await not_ready(server) == "The service is stopping."


async def test_service_without_store_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not answer the service is alive and not ready."""

    async def unhealthy(_: MemoryStore) -> bool:
        return False

    monkeypatch.setattr(MemoryStore, "is_healthy", unhealthy)
    assert await not_ready(server) == "The store does not answer."


async def test_service_that_is_blind_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that could not follow the log for five seconds does not hear of revocations: not ready."""
    monkeypatch.setattr(Hub, "silent_s", 5.1)

    assert await not_ready(server) == "The log cannot be followed."


async def test_metrics_count_requests_and_logins(server: Server) -> None:
    """`/metrics` shows requests and logins in the text format of Prometheus."""
    ada = await server.member("ada")
    await server.json("GET", f"/v1/users/{ada.id}", ada)
    await server.json("POST", "/v1/auth/login", status=401, json={"login": "ada", "password": "wrong"})
    async with server.request("GET", "/metrics") as answer:
        text = await answer.text()

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    figures = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert figures["roster_http_requests_total", "/v1/users/{id}", "200", "GET"] == 1
    assert figures["roster_logins_total", "invalid_credentials"] == 1
    assert figures["roster_logins_total", "ok"] == 1
    assert ada.id not in text


async def test_metrics_need_their_setting(caplog: pytest.LogCaptureFixture) -> None:
    """Without ROSTER_METRICS_TOKEN `/metrics` is 404 for every caller, loopback and administrators included, and the start
    logs the name of the setting."""
    caplog.set_level("INFO", "roster")
    async with serve(metrics_token="") as server:
        for headers in (
            {},
            {"Host": "evil.example"},
            {"X-Forwarded-For": "127.0.0.1"},
            (await server.admin()).headers,
            {"Authorization": "Bearer none"},
            {"Authorization": "Bearer "},
        ):
            problem = await server.json("GET", "/metrics", status=404, headers=headers)
            assert "ROSTER_METRICS_TOKEN" in problem["detail"]
    runner = await make_runner(settings_for_tests(metrics_token=""))
    assert isinstance(runner, Runner)
    runner.serving()
    await runner.cleanup()
    assert any("ROSTER_METRICS_TOKEN" in record.getMessage() for record in caplog.records)


async def test_metrics_are_open_on_request() -> None:
    """ROSTER_METRICS_TOKEN=none serves every caller, with any header; a short token is refused at the start."""
    async with serve(metrics_token="none", rate_limit="1/minute") as server:
        for headers in ({}, {"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.1"}, {"Authorization": "Bearer x"}):
            async with server.request("GET", "/metrics", headers=headers) as answer:
                assert answer.status == 200
                assert "RateLimit" not in answer.headers
    with pytest.raises(SettingsError, match="ROSTER_METRICS_TOKEN"):
        load(metrics_token="too short", _env_file=None)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", "application/openmetrics-text"),
        ("application/openmetrics-text; version=9.9.9é", "application/openmetrics-text"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text;q=0", "text/plain"),
        ("application/openmetrics-text;q=x, text/plain", "text/plain"),
        ("text/plain;version=0.0.4, application/openmetrics-text;q=0.1", "text/plain"),
    ],
)  # fmt: skip
async def test_accept_selects_openmetrics(server: Server, accept: str, media_type: str) -> None:
    """The format with the higher quality in `Accept` is sent, text at equal quality, and each can be parsed."""
    async with server.request("GET", "/metrics", headers={"Accept": accept}) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert answer.content_type == media_type
    assert "Accept" in answer.headers["Vary"]
    parse = openmetrics_families if media_type != "text/plain" else text_string_to_metric_families
    assert {family.name for family in parse(text)} >= {"roster_http_requests", "roster_streams"}


async def test_metrics_answer_their_token() -> None:
    """With a token set, callers with that token read the metrics from anywhere, and no other caller does."""
    async with serve(metrics_token="a token for metrics") as server:
        admin = await server.admin()
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} a token for metrics", "X-Forwarded-For": "192.0.2.1"}
            async with server.request("GET", "/metrics", headers=headers) as answer:
                assert answer.status == 200
        for headers, error in (
            ({}, None),
            ({"Authorization": "Basic YTpi"}, None),
            (admin.headers, "invalid_token"),
            ({"Authorization": "Bearer a token for metric"}, "invalid_token"),
            ({"Authorization": "Bearer é"}, "invalid_token"),
        ):
            async with server.request("GET", "/metrics", headers=headers) as answer:
                assert answer.status == 401
                assert ("invalid_token" in answer.headers["WWW-Authenticate"]) is (error is not None)
