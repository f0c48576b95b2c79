"""Sending an export so that the audit has an entry of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from aiohttp import web

from service.domain.users.bulk_export import Exported, Sent, record_export
from service.http.ndjson_response import send_lines
from service.http.view import View

T = TypeVar("T")

log = logging.getLogger("roster.exports")


async def send_export(
    view: View,
    response: web.StreamResponse,
    pages: AsyncIterator[Sequence[T]],
    line_of: Callable[[T], bytes],
    end: Callable[[int], bytes],
    action: Exported,
    name: str,
) -> None:
    """Send every item as a line, and the line that `end` makes of their number, as `send_lines` does; and record what was sent,
    however the sending ends."""
    sent = Sent()

    async def lines() -> AsyncIterator[bytes]:
        async for page in pages:
            sent.count += len(page)
            yield b"".join(map(line_of, page))
        yield end(sent.count)
        sent.complete = True

    try:
        await send_lines(view, response, lines(), name)
    finally:
        # A task: the client may have left, which cancels this one.
        _ = view.services.tasks.start(_record(view, action, sent), "record an export")


async def _record(view: View, action: Exported, sent: Sent) -> None:
    try:
        await record_export(view.services.store, view.by, view.caller.id, action, sent)
    except Exception:
        extra = {"user": view.principal.user, "action": action, "count": sent.count}
        log.exception("audit entry of an export not written", extra=extra)
