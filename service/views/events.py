"""The event log, as pages and as a stream."""

from __future__ import annotations

from aiohttp import web

from service.domain.errors import PositionUnavailable
from service.domain.events import visibility
from service.domain.events.event import EVENT_TYPES
from service.domain.events.position import Position, lost
from service.domain.events.query import EventQuery
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.streaming import serve_stream
from service.http.view import PRIVATE, View, json_response
from service.realtime.event_stream import Reading, Start
from service.realtime.subscribers import EventFilter
from service.schemas.events import EventAnswer, EventList, EventListQuery, FeedFilter, event_json
from service.schemas.feed import Closing, Hello, Keepalive, Reset

_TAG = "events"

_STREAM = """\
    retry: 2715
    id: k3f9q2xw-1041
    event: hello
    data: {"position":"k3f9q2xw-1041"}

    id: k3f9q2xw-1042
    event: user.updated
    data: {"id":"k3f9q2xw-1042","type":"user.updated",…}
"""


class EventsView(View):
    @operation(
        Operation(
            id="list_events",
            summary="Read the log in pages",
            description=(
                "Administrators read all events, members those about themselves. Without `after` it begins at the oldest "
                "event kept. A position that the log no longer reaches is 410 and names the position to continue from. After a change "
                "of your own role, read the earlier events again: other ones are visible. With `types` a page reads at most "
                "1,000 events, so it may hold few items or none and still have a `next`."
            ),
            tag=_TAG,
            access=Access.BEARER,
            scope="events:read",
            query=EventListQuery,
            replies={200: Reply("A page of events, oldest first.", EventList, headers=("Roster-Position",))},
            refusals=(problems.POSITION_UNAVAILABLE,),
        )
    )
    async def get(self) -> web.Response:
        wanted = self.query(EventListQuery)
        asked = None if wanted.after in (None, "0") else Position.parse(wanted.after)
        types = frozenset(wanted.types.split(",")) if wanted.types else None
        page = await self.services.store.events.list_page(
            EventQuery(asked.seq if asked else 0, wanted.limit, None, visibility.subject_of(self.caller), types)
        )
        reason = asked and lost(asked, page.position, page.first)
        if reason:
            raise PositionUnavailable(reason, str(page.position))
        epoch = page.position.epoch
        following = f'"{Position(epoch, page.seen)}"' if page.seen < page.position.seq else "null"
        items = b",".join(event_json(event, epoch) for event in page.events)
        return json_response(
            b'{"items":[%b],"next":%b}' % (items, following.encode()),
            headers={**PRIVATE, "Roster-Position": str(page.position)},
        )


class FeedView(View):
    @operation(
        Operation(
            id="follow_feed",
            summary="Follow the log live",
            description=(
                "Server-sent events. `hello` is first, then every event after the given position, then live "
                "events. `reset` says that events are missing: read `resync` again and continue. `closing` says that the "
                "stream ends and when to reconnect. `ping` comes every 15 seconds and advances the `id`, so that a reader without events "
                f"keeps a recent position.\n\n{_STREAM}"
            ),
            tag=_TAG,
            access=Access.STREAM,
            scope="events:read",
            query=FeedFilter,
            headers=("Last-Event-ID",),
            replies={
                200: Reply(
                    "The stream.",
                    media_type="text/event-stream",
                    events={
                        "hello": Hello,
                        "ping": Keepalive,
                        **dict.fromkeys(EVENT_TYPES, EventAnswer),
                        "reset": Reset,
                        "closing": Closing,
                    },
                    headers=("Cache-Control",),
                )
            },
        )
    )
    async def get(self) -> web.StreamResponse:
        wanted = self.query(FeedFilter)
        start = Start.of(self.request.headers.get("Last-Event-ID"), wanted.after)
        types = frozenset(wanted.types.split(",")) if wanted.types else None
        event_filter = EventFilter(visibility.subject_of(self.caller), types)
        reading = Reading(self.services.hub, event_filter, visibility.resync_of(self.caller), wanted.limit)
        return await serve_stream(self, reading, start)
