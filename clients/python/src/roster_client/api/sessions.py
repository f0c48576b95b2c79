"""`roster.sessions`."""

from __future__ import annotations

from collections.abc import Sequence

from roster_client.api.pages import quote_segment
from roster_client.http import ApiClient
from roster_client.models import Session


class AsyncSessions:
    """The logins of the own account. They need a login; an API token may not read them."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    async def list(self) -> Sequence[Session]:
        """All sessions; `current` marks the one of this client."""
        page = await self._http.json("GET", "/v1/auth/sessions")
        return [Session.from_json(item) for item in page["items"]]

    async def end(self, id: str) -> None:
        """End a session: its tokens and open streams. Raises `NotFound`."""
        await self._http.request("DELETE", "/v1/auth/sessions/" + quote_segment(id))

    async def end_others(self) -> None:
        """End all sessions except the own one."""
        await self._http.request("DELETE", "/v1/auth/sessions")
