"""What operators and their machines ask for."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import keys
from service.realtime.hub import Hub
from service.store.memory import MemoryStore
from tests.support.server import Server, serve


async def test_health_is_public_and_never_kept(server: Server) -> None:
    """Both checks answer anybody, and no cache keeps the answer."""
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
    assert (answer.status, problem["type"]) == (503, "/problems/unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    await server.json("GET", "/health/live")
    return str(problem["detail"])


async def test_service_that_stops_is_not_ready(server: Server) -> None:
    """From the moment at which streams are told to end no further requests should come here."""
    server.app[keys.CONNECTIONS].retiring = True

    assert await not_ready(server) == "The service is stopping."


async def test_service_without_store_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not answer the service is alive and not ready."""

    async def unhealthy(_: MemoryStore) -> bool:
        return False

    monkeypatch.setattr(MemoryStore, "healthy", unhealthy)
    assert await not_ready(server) == "The store does not answer."


async def test_service_that_is_blind_is_not_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that could not follow the log for five seconds does not hear of revocations: not ready."""
    monkeypatch.setattr(Hub, "silent_s", 5.1)

    assert await not_ready(server) == "The log cannot be followed."


async def test_metrics_answer_loopback(server: Server) -> None:
    """Without a token set, loopback reads the figures in Prometheus' text format."""
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


async def test_metrics_are_not_for_those_behind_a_proxy(server: Server) -> None:
    """A proxy on this host does not open the figures to those for whom it speaks."""
    for header in ("X-Forwarded-For", "Forwarded"):
        problem = await server.json("GET", "/metrics", status=403, headers={header: "127.0.0.1"})
        assert "ROSTER_METRICS_TOKEN" in problem["detail"]


async def test_metrics_answer_their_token() -> None:
    """With a token set, whoever has it reads the figures from anywhere, and nobody else does, loopback neither."""
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
