"""HTTP with JSON, retries and errors that say what went wrong. Usable alone, for any API."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

import aiohttp

from roster_client.errors import ConnectionFailed, HttpProblem, Incomplete, RosterError, TimedOut
from roster_client.http.response import Response
from roster_client.http.retries import IDEMPOTENT_METHODS, RETRIED_STATUSES, RetryBudget, RetryPolicy
from roster_client.version import __version__

USER_AGENT: Final = f"roster-client/{__version__} aiohttp/{aiohttp.__version__}"

Authorize = Callable[[str | None], Awaitable[str | None]]
Params = Mapping[str, str | int | None]


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of `ApiClient.request`."""

    params: Params | None
    json: Any
    headers: Mapping[str, str] | None
    idempotency_key: bool
    repeatable: bool | None
    authorized: bool


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    query: Mapping[str, str]
    json: Any
    headers: Mapping[str, str]
    repeatable: bool
    authorized: bool


class ApiClient:
    """Requests to one base address, over one pool of connections.

    Close it with `async with` or `close()`. It belongs to the event loop in which its first request is made.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        retries: RetryPolicy | None = None,
        authorize: Authorize | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        """
        Args:
            base_url: scheme, host and optional path, under which all paths lie.
            headers: sent with every request.
            retries: None for the defaults of `RetryPolicy`.
            authorize: returns the bearer token of a request, or None for none. Its argument is a token that the service has
                just refused with 401, or None.
            connector: for proxies, own certificates and limits; None for aiohttp's defaults.
        """
        self.base_url = base_url.rstrip("/")
        self.retries = retries or RetryPolicy()
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})}
        self._authorize = authorize
        self._connector = connector
        self._budget = RetryBudget()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. A second call does nothing."""
        if self._session is not None:
            await self._session.close()

    async def json(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Any:
        """The JSON of a response; None for an empty one. Arguments and errors are those of `request`."""
        return (await self.request(method, path, **options)).json()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: bool = False,
        repeatable: bool | None = None,
        authorized: bool = True,
    ) -> Response:
        """Send a request, and read its response to the end.

        Args:
            params: the query; names whose value is None are left out.
            json: the body; None for no body.
            idempotency_key: send a new `Idempotency-Key`, the same for all attempts, which makes a POST repeatable.
            repeatable: whether the request may be sent again after a broken connection, 429, 502, 503 and 504; None: by its
                method and key.
            authorized: False sends no token.

        Raises:
            HttpProblem: the status is 400 or above; the class depends on the problem type.
            ConnectionFailed: the connection failed, and so did its repetitions.
            TimedOut: `total_timeout_s` passed.
            Incomplete: the response ended early.

        Cancelling is safe, but the service may have executed the request.
        """
        sent = {**(headers or {})}
        if idempotency_key:
            sent["Idempotency-Key"] = f'"{uuid.uuid4()}"'
        if repeatable is None:
            repeatable = idempotency_key or method in IDEMPOTENT_METHODS
        query = {name: str(value) for name, value in (params or {}).items() if value is not None}
        call = _Call(method, path, query, json, sent, repeatable, authorized)
        deadline = asyncio.get_running_loop().time() + self.retries.total_timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                return await self._send(call, deadline)
        except TimeoutError as error:
            raise TimedOut(f"{method} {path}: no response in {self.retries.total_timeout_s:g} seconds.") from error

    async def _send(self, call: _Call, deadline: float) -> Response:
        loop = asyncio.get_running_loop()
        maybe_applied = False
        refused: str | None = None
        attempt = 0
        while True:
            token = await self._authorize(refused) if self._authorize and call.authorized else None
            problem: HttpProblem | None = None
            failure: RosterError
            try:
                response = await self._exchange(call, token)
            except (ConnectionFailed, Incomplete, TimedOut) as error:
                failure = error
            else:
                if response.status < 400:
                    self._budget.refill()
                    return response
                failure = problem = response.create_problem()
                problem.maybe_applied = maybe_applied
                if response.status == 401 and token is not None and refused is None:
                    refused = token  # ask for another one, once
                    continue
            if not call.repeatable or (problem is not None and problem.status not in RETRIED_STATUSES):
                raise failure
            delay_s = self.retries.choose_delay_s(attempt, problem.retry_after_s if problem else None)
            # A wait that outlasts the call would only replace the reason by a timeout.
            if loop.time() + delay_s >= deadline or not self._budget.take():
                raise failure
            maybe_applied = maybe_applied or problem is None or problem.status in (502, 504)
            await asyncio.sleep(delay_s)
            attempt += 1

    async def _exchange(self, call: _Call, token: str | None) -> Response:
        headers = call.headers if token is None else {**call.headers, "Authorization": f"Bearer {token}"}
        url = self.base_url + call.path
        session = self._open_session()
        with _translate_errors(call.method, call.path):
            async with session.request(call.method, url, params=call.query, json=call.json, headers=headers) as answer:
                body = await answer.read()
                history = tuple(str(earlier.url) for earlier in answer.history)
                return Response(answer.status, answer.headers, body, history)

    @asynccontextmanager
    async def open_stream(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        idle_timeout_s: float,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of a response, piece by piece as it arrives, for responses of any length.

        A refused token is replaced once; nothing else is repeated.

        Args:
            idle_timeout_s: seconds without a byte after which `TimedOut` is raised.

        Raises what `request` raises, also between two pieces.
        """
        query = {name: str(value) for name, value in (params or {}).items() if value is not None}
        refused: str | None = None
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=idle_timeout_s)
        while True:
            token = await self._authorize(refused) if self._authorize else None
            sent = {**(headers or {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
            with _translate_errors(method, path):
                async with self._open_session().request(
                    method, self.base_url + path, params=query, headers=sent, timeout=timeout
                ) as answer:
                    if answer.status < 400:
                        yield answer.content.iter_any()
                        return
                    problem = Response(answer.status, answer.headers, await answer.read()).create_problem()
            if problem.status != 401 or token is None or refused is not None:
                raise problem
            refused = token

    def _open_session(self) -> aiohttp.ClientSession:
        # Not in the constructor: a session belongs to the loop that runs when it is made.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, connector=self._connector, timeout=aiohttp.ClientTimeout(total=None, connect=10)
            )
        if self._session.closed:
            raise RuntimeError("The client is closed.")
        return self._session


@contextmanager
def _translate_errors(method: str, path: str) -> Iterator[None]:
    """Raise the errors of aiohttp as those of this package."""
    try:
        yield
    except aiohttp.ClientPayloadError as error:
        raise Incomplete(f"{method} {path}: the response ended early.") from error
    except aiohttp.InvalidURL as error:
        raise ValueError(f"{path!r} is no path of a valid address.") from error
    except TimeoutError as error:
        raise TimedOut(f"{method} {path}: the server is silent.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionFailed(f"{method} {path}: {str(error) or type(error).__name__}") from error
