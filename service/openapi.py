"""OpenAPI 3.1 from the route table, the operations of the views and the models of the bodies.

`make openapi` writes it down, a test fails when what is written differs, and the service answers with the same.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import __version__
from service.operations import Access, Operation, Reply
from service.problems import UNAVAILABLE, Kind
from service.routes import routes
from service.schemas.problems import Problem
from service.views.base import View

_REF: Final = "#/components/schemas/{model}"
_VALIDATION: Final = "validation"
_SERIALIZATION: Final = "serialization"

_TAGS: Final = {
    "auth": "Accounts are entered with a password; an access token goes with every request, a refresh token renews it.",
    "users": "User accounts. Every change commits with its event; the event's number is the account's version.",
    "events": "What changed, as pages and live. One position for everything: ETag, SSE id, WebSocket position.",
    "websocket": "Rooms, presence, echo and the feed in one connection. The frames are described in docs/websocket.md.",
    "aggregate": "Other services, asked through this one.",
    "operations": "For operators and their machines.",
    "pages": "For people.",
}
_SECURITY: Final[Mapping[Access, list[dict[str, list[str]]]]] = {
    Access.PUBLIC: [],
    Access.BEARER: [{"bearer": []}],
    Access.STREAM: [{"bearer": []}, {"ticket": []}, {"cookie": []}],
    Access.OPERATOR: [{}, {"operator": []}],
}
_PATH_PARAMETERS: Final = {
    "id": {
        "description": "The user's id, a UUID in lower case with hyphens.",
        "schema": {"type": "string", "format": "uuid", "pattern": "^[0-9a-fA-F-]{36}$"},
        "example": "0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
    },
    "slug": {
        "description": "Last part of a problem's `type`.",
        "schema": {"type": "string", "pattern": "^[a-z-]{1,40}$"},
        "example": "not-found",
    },
}


class OpenApi:
    """The document, made once, when somebody asks."""

    @functools.cached_property
    def json(self) -> str:
        return json.dumps(document(), ensure_ascii=False)

    @functools.cached_property
    def yaml(self) -> str:
        return to_yaml(document())


def to_yaml(content: dict[str, Any]) -> str:
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # an anchor saves lines and costs every reader


def document() -> dict[str, Any]:
    """The whole description."""
    refs, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for path, method, promised in operations():
        paths.setdefault(path, {})[method] = _operation(path, method, promised, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roster",
            "version": __version__,
            "summary": "User accounts, a feed of what changed, and rooms: one log, one position.",
            "description": "Problems are `application/problem+json` (RFC 9457); `/problems/{slug}` explains each.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "From POST /v1/auth/login.",
                },
                "ticket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "From POST /v1/auth/ticket; used once.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "roster_stream",
                    "description": "Comes with a ticket; for streams from pages of this origin.",
                },
                "operator": {"type": "http", "scheme": "bearer", "description": "ROSTER_METRICS_TOKEN."},
            },
            "schemas": schemas,
        },
    }


def operations() -> Iterator[tuple[str, str, Operation]]:
    """Every path, method and promise of the route table; HEAD and OPTIONS follow from the others and are left out."""
    for route in routes:
        view = route.handler if isinstance(route, web.RouteDef) else None
        if not (isinstance(view, type) and issubclass(view, View)) or not isinstance(route, web.RouteDef):
            raise TypeError(f"{route} is not the route of a view")
        for method, promised in view.operations.items():
            if method != "HEAD":
                yield route.path, method.lower(), promised


def _schemas() -> tuple[dict[tuple[type[BaseModel], str], dict[str, Any]], dict[str, Any]]:
    models: dict[tuple[type[BaseModel], Any], None] = {(Problem, _SERIALIZATION): None}
    for _, _, promised in operations():
        if promised.body is not None:
            models[promised.body, _VALIDATION] = None
        for reply in promised.replies.values():
            if reply.model is not None:
                models[reply.model, _SERIALIZATION] = None
    refs, definitions = models_json_schema(list(models), ref_template=_REF)
    return refs, definitions["$defs"]  # type: ignore[return-value]  # pydantic's keys are a narrower literal


def _operation(path: str, method: str, promised: Operation, refs: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": promised.summary,
        "description": promised.description,
        "operationId": _operation_id(path, method),
        "tags": [promised.tag],
        "security": _SECURITY[promised.access],
    }
    if parameters := [*_path_parameters(path), *_query_parameters(promised), *_header_parameters(promised.headers)]:
        described["parameters"] = parameters
    if promised.body is not None:
        content: dict[str, Any] = {"schema": refs[promised.body, _VALIDATION]}
        if promised.body_examples:
            content["examples"] = {name: {"value": value} for name, value in promised.body_examples.items()}
        described["requestBody"] = {
            "required": promised.body_required,
            "content": dict.fromkeys(promised.body_types, content),
        }
    described["responses"] = {
        **{str(status): _reply(reply, refs) for status, reply in promised.replies.items()},
        **_refusals(path, promised.refusals, refs),
    }
    return described


def _operation_id(path: str, method: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", path.removeprefix("/v1").lower()).strip("_")
    return f"{method}_{words or 'home'}"


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]}


def _query_parameters(promised: Operation) -> Iterator[dict[str, Any]]:
    if promised.query is None:
        return
    schema = promised.query.model_json_schema()
    for name, field in schema["properties"].items():
        if name == "ticket":
            continue  # stands among the security schemes
        field = {key: value for key, value in field.items() if key != "title"}
        if "anyOf" in field:  # left out is not null: a query has no null
            field |= next(choice for choice in field.pop("anyOf") if choice.get("type") != "null")
            field.pop("default", None)
        examples = field.pop("examples", [])
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field.pop("description", ""),
            "schema": field,
            **({"example": examples[0]} if examples else {}),
        }


def _header_parameters(headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, text in headers.items():
        if name != "Authorization":  # OpenAPI 3.1 leaves that to the security schemes
            yield {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _reply(reply: Reply, refs: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    if reply.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in reply.headers.items()
        }
    if reply.model is not None:
        content = {"schema": refs[reply.model, _SERIALIZATION]}
        example = reply.example if reply.example is not None else example_of(reply.model)
        described["content"] = {"application/json": {**content, "example": example}}
    elif reply.media_type is not None:
        content = {"schema": {} if reply.media_type == "application/json" else {"type": "string"}}
        if reply.example is not None:
            content["example"] = reply.example
        described["content"] = {reply.media_type: content}
    return described


def _refusals(path: str, kinds: Sequence[Kind], refs: Mapping[Any, Any]) -> dict[str, Any]:
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": " ".join(f"`{kind.slug}`: {kind.title}. {kind.remedy}" for kind in found),
            "content": {
                "application/problem+json": {
                    "schema": refs[Problem, _SERIALIZATION],
                    "examples": {kind.slug: {"value": _problem_example(path, kind)} for kind in found},
                }
            },
            **(
                {"headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}}
                if status in (429, UNAVAILABLE.status)
                else {}
            ),
        }
        for status, found in sorted(by_status.items())
    }


def _problem_example(path: str, kind: Kind) -> dict[str, Any]:
    return {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.remedy,
        "instance": path.replace("{id}", _PATH_PARAMETERS["id"]["example"]),  # type: ignore[arg-type]  # it is a text
        "request_id": "q7x2-00002a",
    }


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """An example of a model, from the examples of its fields."""
    schema = model.model_json_schema(mode="serialization")
    example: dict[str, Any] = _example(schema, schema.get("$defs", {}))
    return example


def _example(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return _example(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _example(schema[key][0], definitions)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {
                name: _example(field, definitions)
                for name, field in properties.items()
                if name in schema.get("required", ()) or "examples" in field
            }
        case "array":
            return [_example(schema["items"], definitions)]
        case _:
            return schema.get("const", schema.get("default"))
