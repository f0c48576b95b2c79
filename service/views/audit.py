"""The audit, as pages and as NDJSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import hdrs, web

from service.domain.audit import AuditEntry, AuditQuery
from service.domain.errors import Forbidden
from service.domain.ports import Store
from service.http import problems
from service.http.ndjson import MEDIA_TYPE
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.streaming import send_export
from service.http.view import PRIVATE, View, json_response
from service.schemas.audit import AuditFilter, EntryList, entry_answer, entry_line
from service.schemas.end_lines import audit_end

_PAGE: Final = 500  # entries that are read at once, where all are wanted

_LINES: Final = (
    '{"id":1795253400123456,"at":"2026-11-21T09:30:00.123456Z","action":"login.failed","actor":null,"subject":null,'
    '"client":"192.0.2.7","request_id":null,"session_id":null,"token_id":null,"component":null,'
    '"details":{"failed":12,"codes":0,"refused":3}}\n'
    '{"end":true,"entries":1}\n'
)


class AuditView(View):
    @operation(
        Operation(
            id="list_audit",
            summary="Read who did what",
            description=(
                "For administrators. Entries with the newest first: who did what to whom, from where; each entry was "
                "committed with its change. With `Accept: application/x-ndjson` all matching entries are returned, one "
                "per line, and `limit` is ignored; the last line is "
                '`{"end":true,"entries":…}`; without it the response was cut off. '
                "The export itself is recorded as `audit.exported`."
            ),
            tag="audit",
            access=Access.BEARER,
            scope="audit:read",
            query=AuditFilter,
            replies={200: Reply("A page of entries.", EntryList, lines=_LINES)},
            refusals=(problems.FORBIDDEN,),
        )
    )
    async def get(self) -> web.StreamResponse:
        if not self.caller.is_admin:
            raise Forbidden("Only administrators may read the audit.")
        wanted = self.query(AuditFilter)
        services = self.services
        filters = {"list": "audit"} | wanted.model_dump(mode="json", exclude={"cursor", "limit"}, exclude_none=True)
        query = AuditQuery(
            limit=wanted.limit + 1,  # one more tells whether there is another page
            before=None if wanted.cursor is None else services.cursors.unseal(wanted.cursor, filters),
            actor=wanted.actor,
            subject=wanted.subject,
            action=wanted.action,
            since=wanted.since,
            until=wanted.until,
        )
        if _wants_lines(self.request):
            return await self._send(query)
        found = await services.store.audit.list_page(query)
        items = found[: wanted.limit]
        following = services.cursors.seal(items[-1].sequence, filters) if len(found) > wanted.limit else None
        page = EntryList.model_construct(items=[entry_answer(entry) for entry in items], next=following)
        return json_response(page.model_dump_json().encode(), headers=_HEADERS)

    async def _send(self, query: AuditQuery) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_HEADERS, hdrs.CONTENT_TYPE: MEDIA_TYPE})
        if self.request.method == "HEAD":
            return response
        with self.services.bulk_jobs.one("audit export"):
            pages = _pages(self.services.store, query)
            await send_export(self, response, pages, entry_line, audit_end, "audit.exported", "audit")
        return response


_HEADERS: Final = {**PRIVATE, hdrs.VARY: f"{PRIVATE[hdrs.VARY]}, Accept"}


def _wants_lines(request: web.Request) -> bool:
    # Only an explicit media type selects NDJSON; a client without a preference sends `*/*`.
    accepted = request.headers.get(hdrs.ACCEPT, "").split(",")
    return any(one.partition(";")[0].strip().lower() == MEDIA_TYPE for one in accepted)


async def _pages(store: Store, query: AuditQuery) -> AsyncIterator[Sequence[AuditEntry]]:
    """Page by page. No entry is added before another, so the pages together are one consistent list."""
    query = replace(query, limit=_PAGE)
    while found := await store.audit.list_page(query):
        yield found
        query = replace(query, before=found[-1].sequence)
