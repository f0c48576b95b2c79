"""The whole description, from the route table down."""

from __future__ import annotations

from typing import Any, Final

from service import __version__
from service.domain.auth.scopes import MEANINGS
from service.http.openapi import headers, refusals
from service.http.openapi.operations import describe
from service.http.openapi.schemas import Schemas
from service.routes import operations

_ABOUT: Final = """\
Every change to an account commits together with its event. The event's number in the log is *the* position, and
everything uses it: a user's `version` and `ETag`, the `id` of the feed, `after`, and the `Roster-Position` of an answer.

**Begin** with `POST /v1/auth/login` and send `Authorization: Bearer <access_token>`. A program
gets an API token of its own from `POST /v1/tokens`, with the scopes that it needs. A browser, whose EventSource and
WebSocket send no header, gets a ticket from `POST /v1/auth/ticket`.

**Follow** without a gap and without a repeat: list the users, keep the `Roster-Position` of the first page, open
`GET /v1/feed` `after` it, and pass over events whose number is not above the `version` you hold.

**Send again** what was not answered: a POST that takes an `Idempotency-Key` is carried out once, and answered again as the
first time, for a day.

**Refusals** are problem documents (RFC 9457); their `type` leads to a page that says what to do. An unknown path is
404 and another method 405 with `Allow`, with or without a token. Parameters that are not described here, or stand
twice, are 400; unknown fields of a body 422. A request that is not valid HTTP, or has a header or an address of more
than 8 KiB, is answered 400 in plain text.

**Every path** answers `OPTIONS`, and `HEAD` where it has `GET`. Every answer carries `X-Request-Id`: yours, if you sent
1 to 64 of `A-Za-z0-9._-`. While requests are limited, `RateLimit` and `RateLimit-Policy` tell what is left.
"""
_TAGS: Final = {
    "auth": "Accounts are entered with a password; an access token goes with every request, a refresh token renews it.",
    "tokens": "What programs have instead of a login: named, with an end, and good for their scopes alone.",
    "users": "User accounts. Every change commits with its event; the event's number is the account's version.",
    "events": "What changed, as pages and live. One position for everything: ETag, SSE id, WebSocket position.",
    "audit": "The audit trail: who did what to whom, from where. For administrators.",
    "rooms": "Messages for the members and readers of a room, without a WebSocket.",
    "websocket": "Rooms, presence, echo and the feed in one connection. The frames are described in docs/websocket.md.",
    "aggregate": "Other services, asked through this one.",
    "operations": "For operators and their machines.",
    "pages": "For people.",
}
_SCOPES: Final = "\n".join(f"* `{scope}`: {meaning.text}" for scope, meaning in MEANINGS.items())
_SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "The access token from `POST /v1/auth/login`, which has every scope, or an API token from `POST /v1/tokens`. Each "
            "operation names the scope that it needs. The scopes are:\n\n" + _SCOPES
        ),
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": (
            "From `POST /v1/auth/ticket`; opens one stream, within 30 seconds. Once spent it is accepted from pages of this "
            "origin with the stream cookie of its session, `roster_stream_…`, so that EventSource reconnects by itself."
        ),
    },
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "description": "`ROSTER_METRICS_TOKEN`; not required if it is `none`.",
    },
}


def document(server: str = "http://127.0.0.1:8080") -> dict[str, Any]:
    """OpenAPI 3.1 of a service at this URL; that of `make run` for a file, which generators read without an address."""
    schemas = Schemas(operation for _, _, operation in operations())
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation in operations():
        paths.setdefault(path, {})[method] = describe(path, operation, schemas)
    refused = [operation.every_refusal for _, _, operation in operations()]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roster",
            "version": __version__,
            "summary": "User accounts, a feed of what changed, and rooms: one log, one position.",
            "description": _ABOUT,
        },
        "servers": [{"url": server, "description": "The service."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "headers": headers.components(),
            "responses": refusals.responses(refused),
            "examples": refusals.examples(refused),
            "schemas": schemas.components,
        },
    }
