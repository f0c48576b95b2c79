"""Responses to errors: problem documents (RFC 9457), and `closing` in an event stream."""

from __future__ import annotations

import logging

from aiohttp import hdrs, web

from service.domain import errors
from service.http import problems
from service.http.context import Context
from service.http.problem_details import ProblemDetails, to_problem
from service.http.problems import HttpProblem, ImportAborted
from service.realtime.event_stream import unavailable_stream
from service.schemas.problems import Problem

log = logging.getLogger("roster.problems")

_BY_STATUS = {
    400: problems.BAD_REQUEST,
    403: problems.FORBIDDEN,
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
    413: problems.TOO_LARGE,
    417: problems.BAD_REQUEST,
}


def respond_to_error(request: web.Request, context: Context, error: Exception) -> web.Response:
    """The response to a request that ended with this error; sets `context.problem`.

    Raises the error again where it is a redirect, or where the client has disconnected.
    """
    match error:
        case errors.Unavailable() if context.operation is not None and context.operation.is_feed:
            # EventSource does not reconnect after 503 (WHATWG HTML, 9.2.3). The stream itself names the time to reconnect.
            return unavailable_stream()
        case errors.DomainError() | HttpProblem() | ImportAborted():
            pass
        case web.HTTPException() if error.status >= 400:
            error = _convert(request, error)
        case web.HTTPException() | ConnectionError():
            raise error
        case _:
            extra = {"request_id": context.request_id, "method": request.method, "client": context.client}
            log.error("unhandled error", exc_info=error, extra=extra)
    problem = to_problem(error, None if context.principal is None else context.principal.caller)
    context.problem = problem.type.slug
    return render_document(request, context.request_id, problem)


def render_document(request: web.Request, request_id: str, problem: ProblemDetails) -> web.Response:
    """A problem document. It closes the connection where the request asked for an upgrade or the problem says so."""
    document = Problem(
        type=problem.type.uri,
        title=problem.type.title,
        status=problem.type.status,
        detail=problem.detail,
        instance=request.rel_url.raw_path,
        request_id=request_id,
        errors=list(problem.errors) or None,
        **problem.extensions,
    )
    headers = {hdrs.CACHE_CONTROL: "no-store", **problem.headers}
    if hdrs.UPGRADE in request.headers:
        # A proxy that did not wait for 101 may forward frames. They must not be parsed as a request.
        headers.setdefault(hdrs.CONNECTION, "close")
    response = web.Response(
        status=problem.type.status,
        body=document.model_dump_json(exclude_none=True).encode(),
        content_type="application/problem+json",
        headers=headers,
    )
    if "close" in headers.get(hdrs.CONNECTION, ""):
        # The header alone does not close: aiohttp would parse the following bytes as the next request.
        response.force_close()
    return response


def _convert(request: web.Request, error: web.HTTPException) -> HttpProblem:
    """The problem of an error that aiohttp raised."""
    problem_type = _BY_STATUS.get(error.status, problems.BAD_REQUEST if error.status < 500 else problems.INTERNAL)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        hint = getattr(request.match_info.handler, "method_hint", "")  # the handler is the class of the view
        detail = f"{request.method[:20]} is not supported here. Supported: {allowed}. {hint}".rstrip()
        return HttpProblem(problem_type, detail, {hdrs.ALLOW: allowed})
    if error.status == 413:
        return HttpProblem(problem_type, f"The body may have {request.client_max_size:,} bytes at most.")
    return HttpProblem(problem_type, problem_type.remedy)
