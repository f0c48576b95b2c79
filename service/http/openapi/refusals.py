"""The refusals of `service/http/problems.py`, each described once: operations refer to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from service.http import problems
from service.http.openapi import headers
from service.http.problems import ProblemType

# What any request may meet, before its operation is even found. It stands as `default`: a list of them at each
# operation would hide those that tell something about it.
_ANYWHERE: Final = (
    problems.BAD_REQUEST,
    problems.METHOD_NOT_ALLOWED,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.MISDIRECTED_REQUEST,
    problems.UPGRADE_REQUIRED,
    problems.INTERNAL,
    problems.NOT_IMPLEMENTED,
)
_ANY: Final = "AnyRefusal"

_HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept", "Accept-Encoding"),
    426: ("Upgrade",),
    429: ("Retry-After",),
    503: ("Retry-After",),
    507: ("Retry-After",),
}
# Where the kind alone does not show what such a document holds.
_EXAMPLES: Final[Mapping[ProblemType, Mapping[str, Any]]] = {
    problems.BAD_REQUEST: {
        "detail": "A query parameter is not what it must be; `errors` names each.",
        "instance": "/v1/events",
        "errors": [{"pointer": "/limit", "code": "less_than_equal", "detail": "Must be 100 or less."}],
    },
    problems.INVALID_FIELDS: {
        "detail": "Some fields are invalid; `errors` names each.",
        "errors": [
            {"pointer": "/age", "code": "less_than_equal", "detail": "Must be 150 or less."},
            {
                "pointer": "/id",
                "code": "extra_forbidden",
                "detail": "Must not be there: nothing of that name is known here.",
            },
        ],
    },
    problems.ALREADY_EXISTS: {
        "detail": "Another account already has this username.",
        "errors": [{"pointer": "/username", "code": "already_exists", "detail": "Another account has this already."}],
    },
    problems.POSITION_UNAVAILABLE: {
        "instance": "/v1/events",
        "reason": "trimmed",
        "position": "k3f9q2xw-1042",
        "resync": "/v1/users",
    },
}


def references(kinds: Collection[ProblemType]) -> dict[str, Any]:
    """The refusals of an operation, by status."""
    found = {
        str(status): {"$ref": f"#/components/responses/{_name(together)}"}
        for status, together in _by_status(kinds).items()
    }
    return {**found, "default": {"$ref": f"#/components/responses/{_ANY}"}}


def responses(operations: Iterable[Collection[ProblemType]]) -> dict[str, Any]:
    """`components.responses`: one for each set of kinds that some operation answers with one status."""
    sets = sorted(
        {together for kinds in operations for together in _by_status(kinds).values()},
        key=lambda together: (together[0].status, len(together), _name(together)),
    )
    described = {_name(together): _response(together, _HEADERS.get(together[0].status, ())) for together in sets}
    anywhere = _response(_ANYWHERE, ("Allow", "Accept", "Accept-Encoding"))
    return {**described, _ANY: {**anywhere, "description": f"Any request may meet these.\n\n{anywhere['description']}"}}


def examples(operations: Iterable[Collection[ProblemType]]) -> dict[str, Any]:
    """`components.examples`: a document of each kind that is referred to."""
    used = set(_ANYWHERE).union(*operations)
    return {
        kind.slug: {
            "summary": kind.title,
            "value": {
                "type": kind.uri,
                "title": kind.title,
                "status": kind.status,
                "detail": kind.remedy,
                "instance": "/v1/users/0193a5c8-7b1e-7c3a-9f52-3d1f0a6b8c11",
                "request_id": "0c41b2c9-2a",
                **_EXAMPLES.get(kind, {}),
            },
        }
        for kind in problems.PROBLEM_TYPES.values()
        if kind in used
    }


def _response(kinds: Collection[ProblemType], named: Iterable[str]) -> dict[str, Any]:
    return {
        "description": "\n\n".join(f"`{kind.slug}`: {kind.title}. {kind.remedy}" for kind in kinds),
        "headers": headers.references(*named, *headers.ALWAYS, *headers.OF_LIMITED),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.slug: {"$ref": f"#/components/examples/{kind.slug}"} for kind in kinds},
            }
        },
    }


def _by_status(kinds: Collection[ProblemType]) -> dict[int, tuple[ProblemType, ...]]:
    found: dict[int, tuple[ProblemType, ...]] = {}
    for kind in problems.PROBLEM_TYPES.values():  # in the order of the table, which is that of their statuses
        if kind in kinds:
            found[kind.status] = (*found.get(kind.status, ()), kind)
    return found


def _name(kinds: Iterable[ProblemType]) -> str:
    return "Or".join(kind.slug.title().replace("-", "") for kind in kinds)
