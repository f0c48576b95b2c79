"""`roster.events` and `roster.audit`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from roster_client.api.pages import read_pages
from roster_client.http import ApiClient
from roster_client.models import Entry, Event


class AsyncEvents:
    """The log, in pages."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    def list(
        self, *, after: str = "0", types: Iterable[str] | None = None, page_size: int | None = None
    ) -> AsyncIterator[Event]:
        """The events after a position, up to the head; `0` is the oldest event. Raises `PositionUnavailable`.

        Args:
            types: only these; None for all.
            page_size: events in a request; None for the service's default.
        """
        params = {"after": after, "types": None if types is None else ",".join(sorted(types)), "limit": page_size}
        return read_pages(self._http, "/v1/events", params, Event, cursor="after")


class AsyncAudit:
    """The audit trail, for administrators."""

    def __init__(self, http: ApiClient) -> None:
        self._http = http

    def list(
        self,
        *,
        actor: str | None = None,
        subject: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Entry]:
        """The entries that match, the newest first.

        Args:
            actor: id of the user that acted.
            subject: id of the user that was changed.
            since: the earliest time, with a time zone.
            until: the time before which entries were written, with a time zone.
        """
        params = {
            "actor": actor,
            "subject": subject,
            "action": action,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
            "limit": page_size,
        }
        return read_pages(self._http, "/v1/audit", params, Entry)
