"""The problem that an error becomes, independent of the transport that renders it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import hdrs

from service.domain import errors
from service.domain.events import visibility
from service.domain.users.accounts import Caller
from service.http import problems
from service.http.problems import HttpProblem, ImportAborted, ProblemType, find_problem_type
from service.schemas.problems import FieldProblem

_CHALLENGE: Final = 'Bearer realm="roster"'


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """One problem.

    Attributes:
        detail: one sentence that is safe to show.
        headers: of an HTTP response.
        errors: each field or parameter that breaks a rule.
        extensions: members of the problem document beyond RFC 9457, by name.
    """

    type: ProblemType
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[FieldProblem] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)


def to_problem(error: Exception, caller: Caller | None = None) -> ProblemDetails:
    """Describe an error; an unknown class becomes `internal-error`, which reveals nothing of it.

    Args:
        caller: chooses the `resync` path of a lost position; None for an unauthenticated request.
    """
    if isinstance(error, ImportAborted):
        reason = to_problem(error.reason, caller)
        # The rest of the body was not read.
        headers = {hdrs.CONNECTION: "close", **reason.headers}
        extensions = {"progress": error.progress, **reason.extensions}
        return ProblemDetails(reason.type, reason.detail, headers, reason.errors, extensions)
    problem_type = find_problem_type(error)
    detail = str(error) if problem_type is not problems.INTERNAL else problem_type.remedy
    extensions = {}
    if isinstance(error, errors.PositionUnavailable):
        resync = error.resync or (visibility.resync_of(caller) if caller is not None else None)
        extensions = {"reason": error.reason, "position": error.position, "resync": resync}
    return ProblemDetails(problem_type, detail, _headers(error), list_field_problems(error), extensions)


def list_field_problems(error: Exception) -> list[FieldProblem]:
    """The fields that an error names; empty for an error without fields."""
    match error:
        case HttpProblem() | errors.Invalid():
            return [FieldProblem(pointer=found.pointer, code=found.code, detail=found.detail) for found in error.errors]
        case errors.AlreadyExists():
            return [
                FieldProblem(pointer=f"/{name}", code="already_exists", detail="Another account has this already.")
                for name in error.fields
            ]
        case _:
            return []


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case HttpProblem():
            return dict(error.headers)
        case errors.TooMany() | errors.Unavailable() | errors.RequestInProgress():
            return {hdrs.RETRY_AFTER: str(math.ceil(error.retry_after_s))}
        case errors.InvalidToken():
            # RFC 6750, 3.1: `error` only where a token was sent.
            return {hdrs.WWW_AUTHENTICATE: f'{_CHALLENGE}, error="invalid_token"'}
        case errors.InsufficientScope():
            # RFC 6750, 3: `scope` names the required scopes.
            return {hdrs.WWW_AUTHENTICATE: f'{_CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'}
        case errors.Unauthenticated():
            return {hdrs.WWW_AUTHENTICATE: _CHALLENGE}
        case _:
            return {}
