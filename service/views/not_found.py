"""The response for unknown paths."""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web

from service.http.view import View


class NotFoundView(View):
    """The view of every unknown path. Its requests pass the whole pipeline and get 404."""

    def respond(self) -> Awaitable[web.StreamResponse]:
        raise web.HTTPNotFound()


class AnyPath(web.PlainResource):
    """Matches every path, and `OPTIONS *`, which no pattern of the router matches. Register it last."""

    def __init__(self) -> None:
        # The router looks under "/" when nothing else has matched.
        super().__init__("/")
        self._nowhere = self.add_route("*", NotFoundView)

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        return web.UrlMappingMatchInfo({}, self._nowhere), set()
