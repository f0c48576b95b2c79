"""Checks of the request head that aiohttp lacks. They run before the body is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from service.http import problems
from service.http.aiohttp_compat import set_body_limit
from service.http.context import Context
from service.http.operations import Access
from service.http.problems import HttpProblem
from service.middleware.step import Step

_SPOKEN: Final = (HttpVersion11, HttpVersion10)
_MOST_PARAMETERS: Final = 50
_MOST_PUBLIC_BYTES: Final = 16_384
_MOST_KNOWN_HOSTS: Final = 64  # clients name the same few
# A name, an IPv4 or a bracketed IPv6 address, then perhaps a port. RFC 3986, 3.2.2 has more, no name in DNS has.
_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?\Z", re.ASCII)
_CLOSE: Final[dict[str, str]] = {hdrs.CONNECTION: "close"}


def guards(allowed_hosts: Collection[str], max_body_bytes: int) -> Step:
    """Reject foreign hosts, and paths and bodies that another HTTP parser may read differently."""
    allowed = frozenset(host.lower() for host in allowed_hosts)
    known_hosts: set[str | None] = set()

    def guard(request: web.Request, context: Context) -> None:
        version = request.version
        if version is not HttpVersion11 and version not in _SPOKEN:
            # aiohttp's parser lets 0.9 and 2.0 pass and answers them as if they were 1.0.
            raise HttpProblem(problems.BAD_REQUEST, "HTTP/1.1 and HTTP/1.0 are spoken here.", _CLOSE)
        headers = request.headers
        host = headers.get(hdrs.HOST)
        if host not in known_hosts:
            if host is not None or allowed:
                _check_host(host or "", allowed)
            if len(known_hosts) < _MOST_KNOWN_HOSTS:
                known_hosts.add(host)
        raw = request.raw_path
        if raw[:1] != "/":
            _check_absolute_form(request)
        if "%" in raw:
            _check_path(request.rel_url.raw_path)
        if "&" in raw and raw.count("&") >= _MOST_PARAMETERS:
            raise HttpProblem(problems.BAD_REQUEST, f"At most {_MOST_PARAMETERS} query parameters are read.")
        if request.body_exists:
            operation = context.operation
            if operation is not None and operation.access is Access.PUBLIC:
                # Nothing is known of the client, and none of these bodies is long.
                most = min(_MOST_PUBLIC_BYTES, max_body_bytes)
                _refuse_coding(request)
                _check_body(request, most)
                set_body_limit(request, most)  # for a body without Content-Length
            else:
                in_lines = operation is not None and operation.body_in_lines
                _check_body(request, None if in_lines else max_body_bytes)
        if hdrs.UPGRADE in headers:
            _check_upgrade(request)

    return guard


def _check_absolute_form(request: web.Request) -> None:
    # RFC 9112, 3.2.2: the authority of the target replaces Host. Nothing here is a proxy, so they must agree.
    authority = request.url.raw_authority if request.url.absolute else None
    if authority is not None and authority.lower() != request.headers.get(hdrs.HOST, "").lower():
        raise HttpProblem(problems.MISDIRECTED_REQUEST, "The target names another authority than the Host header.")


def _check_host(host: str, allowed: Collection[str]) -> None:
    match = _HOST.match(host)
    if match is None:
        # RFC 9112, 3.2: 400 for an invalid value; a proxy may understand it in another way.
        raise HttpProblem(problems.BAD_REQUEST, "`Host` must be the name of a host.", _CLOSE)
    if allowed and match[1].lower() not in allowed:
        raise HttpProblem(problems.MISDIRECTED_REQUEST)


def _check_path(path: str) -> None:
    # `%2F` would become a slash inside {id}, `%00` would reach a database; no path of ours has either.
    lower = path.lower()
    if "%2f" in lower or "%00" in lower or "%5c" in lower:
        raise HttpProblem(problems.NOT_FOUND)


def _check_body(request: web.Request, max_body_bytes: int | None) -> None:
    headers = request.headers
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.strip().lower() != "chunked":
        raise HttpProblem(
            problems.NOT_IMPLEMENTED,
            "Of the transfer codings only `chunked` is understood.",
            _CLOSE,
        )
    # Several headers are one list (RFC 9110, 5.3), of which aiohttp would undo the first.
    encoding = ",".join(headers.getall(hdrs.CONTENT_ENCODING, ()))
    if encoding.strip().lower() not in ("", "identity", "gzip", "deflate"):
        raise HttpProblem(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "Of the content codings gzip and deflate are understood, one at a time.",
            {hdrs.ACCEPT_ENCODING: "gzip, deflate"},
        )
    length = request.content_length
    if length is not None and max_body_bytes is not None and length > max_body_bytes:
        # Checked by the header, so that no client has to send 10^12 bytes first.
        raise HttpProblem(problems.TOO_LARGE, f"The body may have {max_body_bytes:,} bytes at most.", _CLOSE)


def _refuse_coding(request: web.Request) -> None:
    encoding = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ()))
    if encoding.strip().lower() not in ("", "identity"):
        raise HttpProblem(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "Send this body without a content coding.",
            {hdrs.ACCEPT_ENCODING: "identity", **_CLOSE},
        )


def _check_upgrade(request: web.Request) -> None:
    # RFC 6455, 4.2.1: at least HTTP/1.1; RFC 9110, 7.8: Upgrade in an older message must be ignored. A WebSocket
    # that a 1.0 proxy does not understand would become a tunnel for smuggled requests.
    if request.headers[hdrs.UPGRADE].strip().lower() == "websocket" and request.version < HttpVersion11:
        raise HttpProblem(problems.UPGRADE_REQUIRED, headers={hdrs.UPGRADE: "websocket", **_CLOSE})
