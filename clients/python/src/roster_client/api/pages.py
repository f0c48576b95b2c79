"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import quote

from roster_client.http import ApiClient
from roster_client.http.client import Params
from roster_client.models import Model

M = TypeVar("M", bound=Model)


async def read_pages(
    http: ApiClient, path: str, params: Params, model: type[M], cursor: str = "cursor"
) -> AsyncIterator[M]:
    """Every item, in the order of the service. A page is requested when its first item is."""
    following: str | None = None
    while True:
        page = await http.json("GET", path, params=params if following is None else {**params, cursor: following})
        for item in page["items"]:
            yield model.from_json(item)
        following = page.get("next")
        if following is None:
            return


def quote_segment(value: str) -> str:
    """A value as one segment of a path, whatever characters it has."""
    return quote(value, safe="")
