"""Errors become problem documents. An unexpected error becomes a 500 without details, and a log line with them."""

from __future__ import annotations

import logging
import math
from typing import Any

from aiohttp import hdrs, web

from service.domain import errors
from service.domain.events import visibility
from service.http import problems as kinds
from service.http.context import Context
from service.http.problems import HttpProblem, ImportAborted, ProblemType
from service.http.services import CONTEXT
from service.realtime.event_stream import rate_limited
from service.schemas.problems import FieldProblem, Problem
from service.security.rate_limits import LimitReached

log = logging.getLogger("roster.problems")

_BY_STATUS = {
    400: kinds.BAD_REQUEST,
    403: kinds.FORBIDDEN,
    404: kinds.NOT_FOUND,
    405: kinds.METHOD_NOT_ALLOWED,
    413: kinds.TOO_LARGE,
    417: kinds.BAD_REQUEST,
}


def problem(request: web.Request, context: Context, error: Exception) -> web.Response:
    """The response to a request that raised this error; raises it again if the client is gone."""
    match error:
        case errors.Unavailable() if context.operation is not None and context.operation.is_feed:
            # EventSource never comes back from a 503 (WHATWG HTML, 9.2.3): the stream itself says when to.
            return rate_limited()
        case errors.DomainError() | HttpProblem():
            return _of_refusal(request, context, error)
        case ImportAborted():
            return _of_refusal(request, context, error.reason, error.progress)
        case web.HTTPException() if error.status < 400:
            raise error
        case web.HTTPException():
            return _of_framework(request, error)
        case ConnectionError():
            raise error
        case _:
            extra = {"request_id": context.request_id, "method": request.method, "client": context.client}
            log.error("unhandled error", exc_info=error, extra=extra)
            return _of_refusal(request, context, error)


def _of_refusal(
    request: web.Request, context: Context, error: Exception, progress: object | None = None
) -> web.Response:
    kind = kinds.kind_of(error)
    more: dict[str, Any] = {"errors": field_problems(error) or None}
    headers: dict[str, str] = {}
    if progress is not None:
        more["progress"] = progress
        headers[hdrs.CONNECTION] = "close"  # what is left of the body was not read
    match error:
        case HttpProblem():
            headers.update(error.headers)
        case errors.PositionUnavailable():
            principal = context.principal
            resync = error.resync or (visibility.resync_of(principal.caller) if principal is not None else None)
            more |= {"reason": error.reason, "position": error.position, "resync": resync}
        case errors.TooMany() | errors.Unavailable() | errors.RequestInProgress():
            if isinstance(error, LimitReached):
                # The answer tells the limit that refuses, not one of which something is left.
                context.limit, context.used_s = error.limit, error.used_s
            headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after_s))
        case errors.InvalidToken():
            # RFC 6750, 3.1: a reason only where a token was sent.
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="roster", error="invalid_token"'
        case errors.InsufficientScope():
            # RFC 6750, 3: `scope` tells what is needed.
            headers[hdrs.WWW_AUTHENTICATE] = f'Bearer realm="roster", error="insufficient_scope", scope="{error.scope}"'
        case errors.Unauthenticated():
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="roster"'
        case _:
            pass
    detail = str(error) if kind is not kinds.INTERNAL else kind.remedy
    return render(request, kind, detail, headers, **more)


def field_problems(error: Exception) -> list[FieldProblem]:
    """The `errors` member of a problem."""
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


def render(request: web.Request, kind: ProblemType, detail: str, headers: dict[str, str], **more: Any) -> web.Response:
    context = request[CONTEXT]
    context.problem = kind.slug
    document = Problem(
        type=f"/problems/{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.rel_url.raw_path,
        request_id=context.request_id,
        **more,
    )
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if hdrs.UPGRADE in request.headers:
        # A proxy that did not wait for 101 takes what follows for frames: it must not be read as a request here.
        headers.setdefault(hdrs.CONNECTION, "close")
    answer = web.Response(
        status=kind.status,
        body=document.model_dump_json(exclude_none=True).encode(),
        content_type="application/problem+json",
        headers=headers,
    )
    if "close" in headers.get(hdrs.CONNECTION, ""):
        answer.force_close()  # the header alone is only said, and what follows would be read as the next request
    return answer


def _of_framework(request: web.Request, error: web.HTTPException) -> web.Response:
    kind = _BY_STATUS.get(error.status, kinds.BAD_REQUEST if error.status < 500 else kinds.INTERNAL)
    headers: dict[str, str] = {}
    detail = kind.remedy
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
        hint = getattr(request.match_info.handler, "method_hint", "")  # the handler is the class of the view
        detail = f"{request.method[:20]} is not known here; {headers[hdrs.ALLOW]} are. {hint}".rstrip()
    elif error.status == 413:
        detail = f"The body may have {request.client_max_size:,} bytes at most."
    return render(request, kind, detail, headers)
