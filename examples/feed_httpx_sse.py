"""Follow the feed with httpx and httpx-sse, through restarts and token refreshes.

    pip install httpx httpx-sse
    ROSTER=http://127.0.0.1:8080 LOGIN=ada PASSWORD='correct horse battery staple' python examples/feed_httpx_sse.py

Prints one line for each event. An application stores the position together with what it did with the event, and
passes it to `follow` after its own restart.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse


class LoggedOut(Exception):
    """The session has ended; log in again."""


class SessionAuth(httpx.Auth):
    """Sends the access token, and refreshes it once when the answer is 401."""

    def __init__(self, base_url: str, tokens: dict[str, str]) -> None:
        self._refresh_url = f"{base_url}/v1/auth/refresh"
        self._tokens = tokens
        self._refreshing = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        used = self._tokens["access_token"]
        request.headers["Authorization"] = f"Bearer {used}"
        answer = yield request
        if answer.status_code != 401:
            return
        async with self._refreshing:  # a refresh token is used once
            if self._tokens["access_token"] == used:
                body = {"refresh_token": self._tokens["refresh_token"]}
                renewed = yield httpx.Request("POST", self._refresh_url, json=body)
                if renewed.status_code in (400, 401):
                    raise LoggedOut()
                renewed.raise_for_status()
                self._tokens = json.loads(await renewed.aread())  # an application stores them first
        request.headers["Authorization"] = f"Bearer {self._tokens['access_token']}"
        yield request


async def follow(client: httpx.AsyncClient, position: str | None = None) -> AsyncIterator[ServerSentEvent]:
    """Yield events after `position`, of all connections together; None begins with the next event.

    Raises `LoggedOut`, and `httpx.HTTPStatusError` for a request that Roster refuses.
    """
    while True:
        delay_s = random.uniform(1, 3)
        headers = {} if position is None else {"Last-Event-ID": position}
        try:
            async with aconnect_sse(client, "GET", "/v1/feed", headers=headers) as source:
                source.response.raise_for_status()
                async for event in source.aiter_sse():
                    if event.retry is not None:
                        delay_s = event.retry / 1000
                    position = event.id or position
                    if event.event == "closing" and event.json()["reconnect_after_ms"] is None:
                        delay_s = 0  # the token has expired, or the session has ended: the next answer is 401
                    # httpx-sse also yields frames without data, which EventSource does not dispatch.
                    if event.data and event.event != "ping":
                        yield event
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500 and error.response.status_code != 429:
                raise
        except httpx.TransportError:
            pass  # Roster restarts, or the network fails
        await asyncio.sleep(delay_s)


async def main() -> None:
    base_url = os.environ["ROSTER"]
    credentials = {"login": os.environ["LOGIN"], "password": os.environ["PASSWORD"]}
    # A feed is never silent for longer than 15 seconds.
    timeout = httpx.Timeout(10, read=40)
    async with httpx.AsyncClient(base_url=base_url, timeout=timeout) as client:
        answer = await client.post("/v1/auth/login", json=credentials)
        answer.raise_for_status()
        client.auth = SessionAuth(base_url, answer.json())
        async for event in follow(client):
            print(event.event, event.id, event.data, flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except LoggedOut:
        raise SystemExit("the session has ended; log in again") from None
