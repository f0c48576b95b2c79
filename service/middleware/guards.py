"""What aiohttp lets pass and should not, before anything is read or done."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from service import problems
from service.problems import Refused

_MOST_PARAMETERS: Final = 50


def guards(allowed_hosts: Collection[str], max_body_bytes: int) -> Middleware:
    """Refuse foreign hosts, paths and bodies that mean something else to somebody else."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        raw = request.raw_path
        if raw[:1] != "/":
            _check_absolute_form(request)
        if allowed_hosts:
            _check_host(request.host, allowed_hosts)
        if "%" in raw:
            _check_path(request.rel_url.raw_path)
        if request.query_string and request.query_string.count("&") >= _MOST_PARAMETERS:
            raise Refused(problems.BAD_REQUEST, f"At most {_MOST_PARAMETERS} query parameters are read.")
        if hdrs.CONTENT_LENGTH in headers or hdrs.TRANSFER_ENCODING in headers:
            _check_body(request, max_body_bytes)
        if hdrs.UPGRADE in headers:
            _check_upgrade(request)
        return await handler(request)

    return guard


def _check_absolute_form(request: web.Request) -> None:
    # RFC 9112, 3.2.2: the authority of the target replaces Host. Nothing here is a proxy, so they must agree.
    authority = request.url.raw_authority if request.url.absolute else None
    if authority is not None and authority.lower() != request.headers.get(hdrs.HOST, "").lower():
        raise Refused(problems.MISDIRECTED, "The target names another authority than the Host header.")


def _check_host(host: str, allowed: Collection[str]) -> None:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.lower() not in allowed:
        raise Refused(problems.MISDIRECTED)


def _check_path(path: str) -> None:
    # `%2F` would become a slash inside {id}, `%00` would reach a database; no path of ours has either.
    lower = path.lower()
    if "%2f" in lower or "%00" in lower or "%5c" in lower:
        raise Refused(problems.NOT_FOUND)


def _check_body(request: web.Request, max_body_bytes: int) -> None:
    headers = request.headers
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.strip().lower() != "chunked":
        raise Refused(
            problems.NOT_IMPLEMENTED,
            "Of the transfer codings only `chunked` is understood.",
            {hdrs.CONNECTION: "close"},
        )
    encoding = headers.get(hdrs.CONTENT_ENCODING)
    if encoding is not None and encoding.strip().lower() not in ("", "identity", "gzip", "deflate"):
        raise Refused(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "Of the content codings gzip and deflate are understood, one at a time.",
            {hdrs.ACCEPT_ENCODING: "gzip, deflate"},
        )
    length = request.content_length
    if length is not None and length > max_body_bytes:
        # Said from the header: nobody has to send 10^12 bytes to hear it.
        raise Refused(
            problems.TOO_LARGE, f"The body may have {max_body_bytes:,} bytes at most.", {hdrs.CONNECTION: "close"}
        )


def _check_upgrade(request: web.Request) -> None:
    # RFC 6455, 4.2.1: at least HTTP/1.1; RFC 9110, 7.8: Upgrade in an older message must be ignored. A WebSocket
    # that a 1.0 proxy does not understand would become a tunnel for smuggled requests.
    if request.headers[hdrs.UPGRADE].strip().lower() == "websocket" and request.version < HttpVersion11:
        raise Refused(problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "close"})
