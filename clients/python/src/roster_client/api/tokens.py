"""`roster.tokens`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from roster_client.api.pages import quote_segment
from roster_client.http import ApiClient
from roster_client.models import Token, TokenMade


class AsyncTokens:
    """API tokens: credentials of programs."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    async def list(self, *, user: str | None = None) -> Sequence[Token]:
        """The tokens of a user; None: the own ones."""
        page = await self._http.json("GET", "/v1/tokens", params={"user": user})
        return [Token.from_json(item) for item in page["items"]]

    async def create(
        self, name: str, scopes: Iterable[str], *, expires_in_s: int | Literal["never"] | None = None
    ) -> TokenMade:
        """Create a token. Its secret is in `token`, and nowhere else.

        `expires_in_s`: None for the service's default of 30 days; `never` where the operator allows it.

        A broken connection raises `ConnectionFailed`, and a token may exist then: see `list`.
        """
        body: dict[str, Any] = {"name": name, "scopes": [*scopes]}
        if expires_in_s is not None:
            body["expires_in"] = None if expires_in_s == "never" else expires_in_s
        return TokenMade.from_json(await self._http.json("POST", "/v1/tokens", json=body))

    async def revoke(self, id: str) -> None:
        """Revoke a token, and end its streams. Raises `NotFound`."""
        await self._http.request("DELETE", "/v1/tokens/" + quote_segment(id))
