"""Static files of the pages: the service's own, and those of Swagger UI."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import swagger_ui_bundle
from aiohttp import hdrs, web

from service.domain.errors import NotFound
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import View

_FOLDERS: Final = (Path(__file__).parents[1] / "web" / "static", Path(str(swagger_ui_bundle.swagger_ui_path)))
# Read at start-up: a path from a request never reaches the file system.
_FILES: Final = {file.name: file for folder in reversed(_FOLDERS) for file in folder.iterdir() if file.is_file()}


class StaticView(View):
    @operation(
        Operation(
            id="get_static",
            summary="A file of the pages",
            description="Styles, scripts and icons.",
            tag="pages",
            access=Access.PUBLIC,
            replies={200: Reply("The file.", media_type="application/octet-stream", example="…")},
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def get(self) -> web.StreamResponse:
        file = _FILES.get(self.request.match_info["name"])
        if file is None:
            raise NotFound()
        return web.FileResponse(file, headers={hdrs.CACHE_CONTROL: "no-cache"})
