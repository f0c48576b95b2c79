"""Requests that are sent again, and those that are not."""

from __future__ import annotations

import pytest
from roster_client import ConnectionFailed, Incomplete, NotFound, RateLimited, RetryPolicy, ServiceUnavailable, TimedOut
from roster_client.errors import HttpProblem
from roster_client.http import ApiClient, RetryBudget

from tests.support.upstream import Reply, cut, data, endless, raw, running

QUICK = RetryPolicy(total_timeout_s=5, first_delay_s=0.001, longest_delay_s=0.002)


@pytest.mark.parametrize(
    "failure",
    [
        raw(b""),
        raw(b"HTTP/1.1 20"),
        cut(b'{"a"', length=100),
        data({}, status=503),
        data({}, status=429, Retry_After="0"),
    ],
    ids=["closed", "head cut", "body cut", "503", "429"],
)
async def test_read_is_repeated(failure: Reply) -> None:
    """A GET succeeds although earlier attempts failed."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", failure, failure, data({"a": 1}))
        assert await api.json("GET", "/thing") == {"a": 1}


async def test_keyed_post_is_repeated_with_its_key() -> None:
    """All attempts of a POST have the same `Idempotency-Key`; the next call has another one."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", data({}, status=503), data({}))
        await api.json("POST", "/thing", json={}, idempotency_key=True)
        await api.json("POST", "/thing", json={}, idempotency_key=True)
        first, second, third = (request.headers["Idempotency-Key"] for request in upstream.received)
        assert first == second != third


@pytest.mark.parametrize(
    ("failure", "error"), [(cut(b"{", length=9), Incomplete), (data({}, status=503), ServiceUnavailable)]
)
async def test_post_without_a_key_is_sent_once(failure: Reply, error: type[Exception]) -> None:
    """A POST that might be executed twice is not repeated."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", failure)
        with pytest.raises(error):
            await api.json("POST", "/thing", json={})
        assert len(upstream.received) == 1


async def test_lost_response_is_remembered() -> None:
    """A problem after a lost response says that the request may have been executed."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", cut(b"{", length=9), data({}, status=404))
        with pytest.raises(NotFound) as missing:
            await api.request("DELETE", "/thing")
        assert missing.value.maybe_applied
        with pytest.raises(NotFound) as missing:
            await api.request("DELETE", "/thing")
        assert not missing.value.maybe_applied


async def test_wait_that_outlasts_the_call_is_not_begun() -> None:
    """A `Retry-After` beyond the total timeout raises the problem at once."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", data({}, status=429, Retry_After="60"))
        with pytest.raises(RateLimited) as limited:
            await api.json("GET", "/thing")
        assert limited.value.retry_after_s == 60
        assert len(upstream.received) == 1


async def test_call_ends_at_its_timeout() -> None:
    """A response that never ends raises `TimedOut`."""
    policy = RetryPolicy(total_timeout_s=0.2)
    async with running() as upstream, ApiClient(upstream.url(""), retries=policy) as api:
        upstream.on("/thing", endless(b" ", pause_s=0.01))
        with pytest.raises(TimedOut):
            await api.json("GET", "/thing")


async def test_unreachable_server_is_a_failed_connection() -> None:
    """A refused connection raises `ConnectionFailed` when no time is left for another attempt."""
    policy = RetryPolicy(total_timeout_s=1, first_delay_s=0.3, longest_delay_s=0.6)
    async with running() as upstream:
        url = upstream.url("")
    async with ApiClient(url, retries=policy) as api:
        with pytest.raises(ConnectionFailed):
            await api.json("GET", "/thing")


async def test_other_problems_are_not_repeated() -> None:
    """A status that a repetition cannot change is raised at once, also without a problem document."""
    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK) as api:
        upstream.on("/thing", data(["no", "problem"], status=500))
        with pytest.raises(HttpProblem) as problem:
            await api.json("GET", "/thing")
        assert (problem.value.status, problem.value.slug) == (500, "")
        assert len(upstream.received) == 1


async def test_refused_token_is_replaced_once() -> None:
    """After a 401 another token is asked for, once; a second 401 is raised."""
    asked: list[str | None] = []

    async def authorize(refused: str | None) -> str:
        asked.append(refused)
        return f"token{len(asked)}"

    async with running() as upstream, ApiClient(upstream.url(""), retries=QUICK, authorize=authorize) as api:
        upstream.on("/thing", data({}, status=401))
        with pytest.raises(HttpProblem) as problem:
            await api.request("POST", "/thing")
        assert problem.value.status == 401
        assert asked == [None, "token1"]
        sent = [request.headers["Authorization"] for request in upstream.received]
        assert sent == ["Bearer token1", "Bearer token2"]


def test_delay_is_random_and_bounded() -> None:
    """A wait lies between `Retry-After` and the bound above it, which doubles up to the longest."""
    policy = RetryPolicy(first_delay_s=1, longest_delay_s=4)
    for attempt, bound in enumerate([1, 2, 4, 4]):
        delays = [policy.choose_delay_s(attempt, 10) for _ in range(50)]
        assert all(10 <= delay <= 10 + bound for delay in delays)
        assert len(set(delays)) > 1


def test_budget_ends_and_refills() -> None:
    """A used-up budget allows a retry again after five successes."""
    budget = RetryBudget(2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(5):
        budget.refill()
    assert [budget.take() for _ in range(2)] == [True, False]
