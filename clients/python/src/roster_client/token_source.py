"""Keeps one session alive for all requests of a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from roster_client.credentials import ApiToken, Credentials, Login, Saved
from roster_client.errors import InvalidGrant, OtpRequired, Unauthenticated
from roster_client.models import SessionTokens
from roster_client.session_file import SavedTokens, read_tokens, write_tokens

EARLY_S: Final = 30.0
"""An access token is refreshed this many seconds before it ends."""

Post = Callable[[str, dict[str, Any], bool], Awaitable[SessionTokens]]


class TokenSource:
    """The bearer token of each request.

    One refresh runs at a time, in a task of its own: a caller that is cancelled does not cancel it, because the service has
    replaced the refresh token by then.
    """

    def __init__(self, credentials: Credentials | None, post: Post) -> None:
        """`post` sends a body to a path without a token; its last argument says whether the request may be repeated."""
        self._post = post
        self._token = credentials.token if isinstance(credentials, ApiToken) else None
        self._path = Path(credentials.path) if isinstance(credentials, Saved) else None
        self._login = credentials.login if isinstance(credentials, Saved) else None
        if isinstance(credentials, Login):
            self._login = credentials
        self._pair: SavedTokens | None = None
        self._renewal: asyncio.Task[SavedTokens] | None = None

    async def get(self, refused: str | None = None) -> str | None:
        """The token to send; None without credentials.

        `refused` is a token that the service answered with 401: another one is returned, or `Unauthenticated` raised. Raises what
        a login or a refresh raises. Cancelling is safe.
        """
        if self._token is not None or (self._login is None and self._path is None):
            return self._token
        if self._pair is None or self._pair.access_token == refused or self._pair.expires_at - EARLY_S <= time.time():
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew(refused), name="roster-client: renew tokens")
                self._renewal.add_done_callback(self._end_renewal)
            return (await asyncio.shield(self._renewal)).access_token
        return self._pair.access_token

    async def close(self) -> None:
        """Wait for a refresh that runs, so that its tokens are kept."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    async def forget(self) -> None:
        """Forget the session, and remove its file."""
        await self.close()
        self._pair = None
        if self._path is not None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)

    def _end_renewal(self, task: asyncio.Task[SavedTokens]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # each caller has it; without callers it concerns no request

    async def _renew(self, refused: str | None) -> SavedTokens:
        held = self._pair
        if self._path is not None:
            saved = await asyncio.to_thread(read_tokens, self._path)
            if saved is not None and saved != held:
                held = self._pair = saved
                if saved.access_token != refused and saved.expires_at - EARLY_S > time.time():
                    return saved  # another process has refreshed
        if held is None:
            return await self._log_in()
        try:
            return await self._keep(await self._post("/v1/auth/refresh", {"refresh_token": held.refresh_token}, True))
        except (InvalidGrant, Unauthenticated):
            if self._login is None:
                raise
            return await self._log_in()

    async def _log_in(self) -> SavedTokens:
        if self._login is None:
            raise FileNotFoundError(f"{self._path} does not exist, and no login was given to create it.")
        body: dict[str, Any] = {"login": self._login.login, "password": self._login.password}
        try:
            return await self._keep(await self._post("/v1/auth/login", body, False))
        except OtpRequired:
            otp = self._login.otp
            if otp is None:
                raise
            code = otp if isinstance(otp, str) else await asyncio.to_thread(otp, "Second-factor code: ")
        return await self._keep(await self._post("/v1/auth/login", {**body, "otp": code}, False))

    async def _keep(self, tokens: SessionTokens) -> SavedTokens:
        pair = SavedTokens(tokens.access_token, tokens.refresh_token, time.time() + tokens.expires_in)
        if self._path is not None:
            await asyncio.to_thread(write_tokens, self._path, pair)
        self._pair = pair
        return pair
