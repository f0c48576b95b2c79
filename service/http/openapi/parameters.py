"""Path and query parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.domain.rooms.rules import ROOM_NAME
from service.http import problems
from service.http.openapi.schemas import Generator
from service.http.operations import Operation

_OF_PATHS: Final[Mapping[str, Mapping[str, Any]]] = {
    "id": {
        "description": "Its id.",
        "schema": {"type": "string", "format": "uuid"},
        "example": "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
    },
    "room": {
        "description": "The room's name.",
        "schema": {"type": "string", "pattern": ROOM_NAME},
        "example": "lobby",
    },
    "slug": {
        "description": "Last part of a problem's `type`.",
        "schema": {"type": "string", "enum": sorted(problems.PROBLEM_TYPES)},
        "example": "not-found",
    },
}


def of_path(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, **_OF_PATHS[name]}


def of_query(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = operation.query.model_json_schema(schema_generator=Generator)
    for name, field in schema["properties"].items():
        if name == "ticket":
            continue  # stands among the security schemes
        field = _without_null(field)
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.pop("description"),
            "schema": field,
        }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """The same schema for where nothing can be null, only be left out."""
    match field:
        case {"type": [str() as kind, "null"]}:
            return {**field, "type": kind}
        case {"anyOf": [dict() as choice, {"type": "null"}], **rest}:
            return {**rest, **choice}
        case _:
            return field
