"""One operation, as OpenAPI writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from service.http.openapi import headers, parameters, refusals
from service.http.openapi.headers import POSITION
from service.http.openapi.schemas import Schemas, example_of
from service.http.operations import Access, Operation, Reply

_SCHEMES: Final[Mapping[Access, tuple[str, ...]]] = {
    Access.PUBLIC: (),
    Access.BEARER: ("bearer",),
    Access.STREAM: ("bearer", "ticket"),
    Access.OPERATOR: ("operator",),
}


def describe(path: str, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """An Operation Object."""
    # OpenAPI 3.1, Security Requirement Object: for other schemes than OAuth's, names of what is needed.
    scopes: list[str] = [] if operation.scope is None else [operation.scope]
    security: list[dict[str, list[str]]] = [{scheme: scopes} for scheme in _SCHEMES[operation.access]]
    if operation.access is Access.OPERATOR:
        security = [{}, *security]  # ROSTER_METRICS_TOKEN=none
    elif operation.access is Access.STREAM and 101 in operation.replies:
        security = [*security, {}]  # the first frame may bring the token
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "security": security,
    }
    if found := [*parameters.of_path(path), *parameters.of_query(operation), *headers.parameters(operation.headers)]:
        described["parameters"] = found
    if operation.body is not None:
        examples = operation.body_examples or {"example": example_of(operation.body)}
        schema = schemas.body(operation.body)
        if operation.body_in_lines:
            # A generator would make one object of the body, and a client would send one line.
            schema = _lines(operation.body_types[0], schema)
            examples = {name: f"{_json(value)}\n" for name, value in examples.items()}
        content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
        described["requestBody"] = {
            "required": operation.body_required,
            "content": dict.fromkeys(operation.body_types, content),
        }
    described["responses"] = {
        **{str(status): _reply(reply, operation.limited, schemas) for status, reply in operation.replies.items()},
        **refusals.references(operation.every_refusal),
    }
    return described


def _reply(reply: Reply, limited: bool, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": reply.description,
        "headers": headers.references(*reply.headers, *headers.ALWAYS, *(headers.OF_LIMITED if limited else ())),
    }
    if reply.model is not None:
        content = {"schema": schemas.answer(reply.model), "example": example_of(reply.model)}
        described["content"] = {"application/json": content}
        if reply.lines:
            described["content"]["application/x-ndjson"] = {"schema": {"type": "string"}, "example": reply.lines}
    elif reply.media_type is not None and reply.events:
        described["content"] = {reply.media_type: _event_stream(reply, schemas)}
    elif reply.media_type is not None:
        kind = "string" if isinstance(reply.example, str) else "object"
        described["content"] = {reply.media_type: {"schema": {"type": kind}, "example": reply.example}}
    return described


def _lines(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A text of which each line keeps to a schema."""
    text = "Lines of JSON, each by itself as `contentSchema` describes it."
    return {"type": "string", "description": text, "contentMediaType": media_type, "contentSchema": schema}


def _event_stream(reply: Reply, schemas: Schemas) -> dict[str, Any]:
    """A stream is a string to generators. `contentSchema` describes one event as a reader of server-sent events parses it:
    OpenAPI 3.1 has no words for the stream itself."""
    by_model: dict[type[BaseModel], list[str]] = {}
    for name, model in reply.events.items():
        by_model.setdefault(model, []).append(name)
    event = {
        "description": "One event of the stream.",
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {**POSITION, "description": "Where the reader is now; EventSource sends it as `Last-Event-ID`."},
            "event": {"type": "string"},
            "data": {"type": "string"},
            "retry": {"type": "integer", "description": "Milliseconds to wait before coming back."},
        },
        "oneOf": [
            {
                "required": ["event", "data"],
                "properties": {
                    "event": {"enum": names},
                    "data": {"contentMediaType": "application/json", "contentSchema": schemas.answer(model)},
                },
            }
            for model, names in by_model.items()
        ],
    }
    schema = {
        "type": "string",
        "description": "Server-sent events, each by itself as `contentSchema` describes it.",
        "contentMediaType": "text/event-stream",
        "contentSchema": event,
    }
    return {"schema": schema, "examples": dict(map(_frame, by_model.values(), by_model))}


def _frame(names: list[str], model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """The name of an event and an example of it."""
    data = example_of(model)
    event, position = data.get("type", names[0]), data.get("position", data.get("id"))
    head = "" if position is None else f"id: {position}\n"
    return event, {"value": f"{head}event: {event}\ndata: {_json(data)}\n\n"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
