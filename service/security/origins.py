"""Which pages may open a stream: CORS says nothing about WebSockets, and cookies travel by themselves."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web


def is_same_origin(request: web.Request, public_url: str) -> bool:
    """Whether the request comes from a page of ours, or from no page at all."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or is_own(origin, request, public_url)


def is_own(origin: str, request: web.Request, public_url: str) -> bool:
    """Whether an `Origin` is ours: that of `PUBLIC_URL`, and without one the host that the request names."""
    if public_url:
        return origin.lower() == public_url
    return urlsplit(origin).netloc.lower() == request.host.lower()


def may_connect(request: web.Request, public_url: str, allowed: Collection[str]) -> bool:
    """Whether a page of this `Origin` may open a WebSocket; none at all is no browser, and passes."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return True
    return origin != "null" and (is_own(origin, request, public_url) or origin.lower() in allowed)
