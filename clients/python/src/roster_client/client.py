"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from roster_client.api.account import AsyncAccount
from roster_client.api.events import AsyncAudit, AsyncEvents
from roster_client.api.rooms import AsyncRooms
from roster_client.api.sessions import AsyncSessions
from roster_client.api.tokens import AsyncTokens
from roster_client.api.totp import AsyncTotp
from roster_client.api.users import AsyncUsers, read_user
from roster_client.credentials import Credentials
from roster_client.feed import Reset, read_feed
from roster_client.http import ApiClient, RetryPolicy
from roster_client.mirror import AsyncMirror
from roster_client.models import Aggregate, Event, IssuedTicket, SessionTokens, User
from roster_client.positions import MemoryPosition, Position
from roster_client.token_source import TokenSource


class AsyncRoster:
    """A client of one Roster, for one account. Use it with `async with`, in one event loop."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        retries: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        """
        Args:
            url: the address of the service, as `https://roster.example.com`.
            credentials: `ApiToken`, `Login` or `Saved`; None for requests that need none. Nothing is sent before the first call.
            retries: None for the defaults of `RetryPolicy`.
            headers: sent with every request.
            connector: for a pool of connections of your own; None for aiohttp's defaults.
        """
        self._tokens = TokenSource(credentials, self._post_tokens)
        self.http = ApiClient(url, headers=headers, retries=retries, authorize=self._tokens.get, connector=connector)
        self.account = AsyncAccount(self.http)
        self.audit = AsyncAudit(self.http)
        self.events = AsyncEvents(self.http)
        self.rooms = AsyncRooms(self.http)
        self.sessions = AsyncSessions(self.http)
        self.tokens = AsyncTokens(self.http)
        self.totp = AsyncTotp(self.http)
        self.users = AsyncUsers(self.http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The session of a `Login` stays open until it expires; `log_out` ends it."""
        await self._tokens.close()
        await self.http.close()

    async def me(self) -> User:
        """The own account."""
        return read_user(await self.http.request("GET", "/v1/users/me"))

    def feed(
        self,
        position: Position | None = None,
        *,
        after: str | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Event | Reset, None]:
        """Every event after a position, in order; it reconnects without end.

        Args:
            position: where to begin, and where the position of each item is saved when the next item is asked for.
            after: where to begin without a `position`: `0` is the oldest event, None the next one.
            types: only these types; None for all.
            limit: end after so many events; None for no end.

        A `Reset` says that events are lost. Raises `HttpProblem` where another attempt would fail too: credentials that are
        refused, a query that is invalid.
        """
        if position is not None and after is not None:
            raise ValueError("Give `position` or `after`, not both.")
        names = None if types is None else ",".join(sorted(types))
        return read_feed(self.http, position or MemoryPosition(after), names, limit)

    def mirror(self) -> AsyncMirror:
        """A copy in memory of all users that this account may see, which follows the feed: `async with roster.mirror() as users`."""
        return AsyncMirror(self.http)

    async def password(self, current: str, new: str, *, otp: str | None = None) -> None:
        """Change the own password. It ends all other sessions. `otp`: the code of the second factor, if there is one."""
        body = {"current": current, "new": new, "otp": otp}
        await self.http.request("POST", "/v1/auth/password", json=body)

    async def log_out(self) -> None:
        """End the session of this client, and remove its file. An API token is not affected: see `tokens.revoke`."""
        await self.http.request("POST", "/v1/auth/logout", repeatable=True)
        await self._tokens.forget()

    async def ticket(self) -> IssuedTicket:
        """A single-use credential for the address of a stream, for programs that cannot send a header."""
        return IssuedTicket.from_json(await self.http.json("POST", "/v1/auth/ticket"))

    async def aggregate(self, sources: Iterable[str] | None = None) -> Aggregate:
        """The responses of the upstream services that the operator configured; None for all of them."""
        params = {"sources": None if sources is None else ",".join(sources)}
        return Aggregate.from_json(await self.http.json("GET", "/v1/aggregate", params=params))

    async def _post_tokens(self, path: str, body: dict[str, Any], repeatable: bool) -> SessionTokens:
        return SessionTokens.from_json(
            await self.http.json("POST", path, json=body, repeatable=repeatable, authorized=False)
        )
