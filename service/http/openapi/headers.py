"""Every header that means something here, in one table: views name them, this says what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

POSITION: Final = {"type": "string", "pattern": "^[a-z0-9]{1,32}-(0|[1-9][0-9]{0,17})$"}

_TEXT: Final = {"type": "string"}
_ETAGS: Final = {"type": "string", "pattern": r'^(\*|((W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)?)$'}


@dataclass(frozen=True, slots=True)
class Header:
    """One header.

    Attributes:
        always: whether an answer that is described with it has it in every case.
    """

    description: str
    example: Any
    schema: Mapping[str, Any]
    always: bool = True


ALWAYS: Final = ("X-Request-Id",)
OF_LIMITED: Final = ("RateLimit", "RateLimit-Policy")

_OF_ANSWERS: Final[Mapping[str, Header]] = {
    "X-Request-Id": Header("Name of this request in the logs.", "0c41b2c9-2a", _TEXT),
    "RateLimit": Header(
        "The limit that is nearest: `r`, how many requests are left, and `t`, in how many seconds more are.",
        '"user";r=1180;t=42',
        _TEXT,
        always=False,
    ),
    "RateLimit-Policy": Header(
        "The limits: `q` requests in `w` seconds, for an address and for a user.",
        '"address";q=1200;w=60, "user";q=1200;w=60',
        _TEXT,
        always=False,
    ),
    "Retry-After": Header("Seconds to wait.", 30, {"type": "integer", "minimum": 0}),
    "Roster-Position": Header(
        "Position in the log at which this answer is true: the feed goes on `after` it.", "k3f9q2xw-1042", POSITION
    ),
    "ETag": Header(
        "Version of the user, `<epoch>-<version>` in quotes; goes into `If-Match` and `If-None-Match`.",
        '"k3f9q2xw-1042"',
        {"type": "string", "pattern": '^"[a-z0-9]{1,32}-[1-9][0-9]{0,17}"$'},
    ),
    "Location": Header(
        "Address of what was made.",
        "/v1/users/0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
        {"type": "string", "format": "uri-reference"},
    ),
    "Idempotent-Replayed": Header(
        "`true` where this was answered before, to the request that came first with this `Idempotency-Key`.",
        "true",
        {"type": "string", "const": "true"},
        always=False,
    ),
    "Content-Disposition": Header("The name of a file to keep it in.", 'attachment; filename="users.ndjson"', _TEXT),
    "Link": Header(
        "Address of the page after this one (RFC 8288); not there on the last.",
        '</v1/users?sort=username&limit=20&cursor=nzoce-JI2n0>; rel="next"',
        _TEXT,
        always=False,
    ),
    "Cache-Control": Header("Whether caches may store the response.", "no-store", _TEXT),
    "Set-Cookie": Header(
        "The stream cookie of this session: HttpOnly, SameSite=Strict, for streams alone.",
        "roster_stream_5f1c0a9be274=0193a5c87b1e7c3a.1.Kq0f2x; HttpOnly; Max-Age=2592000; Path=/v1; SameSite=Strict",
        _TEXT,
    ),
    "WWW-Authenticate": Header("The credentials that are wanted (RFC 6750).", 'Bearer realm="roster"', _TEXT),
    "Accept": Header("Media types that are read here.", "application/json", _TEXT, always=False),
    "Accept-Encoding": Header("Content codings that are read here.", "gzip, deflate", _TEXT, always=False),
    "Allow": Header("The methods that are known here.", "GET, HEAD, OPTIONS", _TEXT, always=False),
    "Upgrade": Header("The protocol to switch to.", "websocket", _TEXT),
    "Connection": Header("That it does.", "upgrade", _TEXT),
    "Sec-WebSocket-Accept": Header("Proof that the handshake was read.", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", _TEXT),
    "Sec-WebSocket-Protocol": Header("`roster.v1`, if it was offered.", "roster.v1", _TEXT, always=False),
}
_OF_REQUESTS: Final[Mapping[str, Header]] = {
    "Idempotency-Key": Header(
        "A name that the client gives this request and no other, in quotes: sent again with the same body, it is answered as "
        "the first time and not carried out again.",
        '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        {"type": "string", "pattern": r"""^("([ !#-\[\]-~]|\\["\\]){1,255}"|[A-Za-z0-9!#$%&'*+.^_`|~:/=-]{1,255})$"""},
    ),
    "If-Match": Header(
        "ETags of the versions that may be changed, or `*`; any other version answers 412.", '"k3f9q2xw-1042"', _ETAGS
    ),
    "If-None-Match": Header(
        "ETags. With the present one, or `*`, a read answers 304 and a change 412.",
        '"k3f9q2xw-1042"',
        _ETAGS,
    ),
    "Last-Event-ID": Header(
        "Position after which to resume; EventSource sends it on reconnect. Wins over `after`.", "k3f9q2xw-1042", _TEXT
    ),
    "Sec-WebSocket-Protocol": Header("Frames as `roster.v1` describes them.", "roster.v1", _TEXT),
}


def components() -> dict[str, Any]:
    """`components.headers`."""
    return {
        name: {
            "description": header.description,
            "required": header.always,
            "schema": dict(header.schema),
            "example": header.example,
        }
        for name, header in _OF_ANSWERS.items()
    }


def references(*names: str) -> dict[str, Any]:
    """The headers of an answer; raises KeyError for one that the table does not know."""
    for name in names:
        _OF_ANSWERS[name]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def parameters(names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The headers of a request."""
    for name in names:
        header = _OF_REQUESTS[name]
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": header.description,
            # Not as `example`: pages that let one try an operation send that.
            "schema": {**header.schema, "examples": [header.example]},
        }
