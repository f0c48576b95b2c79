"""HTML pages: the start page, the documentation of the API, and the pages of problems."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp_jinja2
from aiohttp import hdrs, web

from service import __version__
from service.domain.errors import NotFound
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import View

_TAG = "pages"
_HTML = "text/html"
_PAGE = '<!doctype html>\n<html lang="en">…</html>\n'
_DOCUMENT = {"openapi": "3.1.0", "info": {"title": "Roster", "version": __version__}, "paths": {}}

# Only our own scripts and styles run: text that is injected into a page stays text.
PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # an address may contain an id, which other sites must not see
    hdrs.CACHE_CONTROL: "no-cache",
}


class HomeView(View):
    @operation(
        Operation(
            id="get_home",
            summary="Home page",
            description="A page for people.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The page.", media_type=_HTML, example=_PAGE)},
        )
    )
    async def get(self) -> web.Response:
        settings = self.services.settings
        # Never from the Host header: a client could otherwise choose the target of these commands.
        origin = settings.public_url or f"http://127.0.0.1:{settings.port}"
        return _page(self.request, "home.html", version=__version__, origin=origin)


class DocsView(View):
    @operation(
        Operation(
            id="get_docs",
            summary="Documentation of the API",
            description="Swagger UI over `/openapi.json`, from this service's own files.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The page.", media_type=_HTML, example=_PAGE)},
        )
    )
    async def get(self) -> web.Response:
        return _page(self.request, "docs.html")


class ProblemPageView(View):
    @operation(
        Operation(
            id="get_problem",
            summary="Explain a problem",
            description="Where the `type` of a problem document leads.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The page.", media_type=_HTML, example=_PAGE)},
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def get(self) -> web.Response:
        kind = problems.PROBLEM_TYPES.get(self.request.match_info["slug"])
        if kind is None:
            raise NotFound()
        return _page(self.request, "problem.html", kind=kind)


class ProblemListView(View):
    @operation(
        Operation(
            id="get_problems",
            summary="All kinds of problems",
            description="A page for people: each `type` that a problem document may have, with its status.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The page.", media_type=_HTML, example=_PAGE)},
        )
    )
    async def get(self) -> web.Response:
        return _page(self.request, "problems.html", kinds=problems.PROBLEM_TYPES.values())


class OpenApiYamlView(View):
    @operation(
        Operation(
            id="get_openapi_yaml",
            summary="This description, as YAML",
            description="OpenAPI 3.1.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The document.", media_type="application/yaml", example=_DOCUMENT)},
        )
    )
    async def get(self) -> web.Response:
        described = self.services.api_description
        text = await asyncio.to_thread(lambda: described.yaml)  # 0.2 s of work, the first time
        return web.Response(text=text, headers={hdrs.CONTENT_TYPE: "application/yaml; charset=utf-8"})


class OpenApiJsonView(View):
    @operation(
        Operation(
            id="get_openapi_json",
            summary="This description, as JSON",
            description="OpenAPI 3.1.",
            tag=_TAG,
            access=Access.PUBLIC,
            replies={200: Reply("The document.", media_type="application/json", example=_DOCUMENT)},
        )
    )
    async def get(self) -> web.Response:
        described = self.services.api_description
        text = await asyncio.to_thread(lambda: described.json)
        return web.Response(text=text, content_type="application/json")


def _page(request: web.Request, template: str, **context: object) -> web.Response:
    page = aiohttp_jinja2.render_template(template, request, context)
    page.headers.update(PAGE_HEADERS)
    return page
