"""Which pages may open a stream: CORS says nothing about WebSockets, and cookies travel by themselves."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs, web


def is_same_origin(request: web.Request, public_url: str) -> bool:
    """Whether the request comes from a page of ours, or from no page at all."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origins = _origins(request)
    if not origins:
        return hdrs.UPGRADE not in request.headers  # of a WebSocket every browser names the page
    return all(is_own(origin, request, public_url) for origin in origins)


def is_own(origin: str, request: web.Request, public_url: str) -> bool:
    """Whether an `Origin` is ours: that of `PUBLIC_URL`, and without one the host that the request names."""
    if public_url:
        return origin.lower() == public_url
    scheme, _, authority = origin.lower().partition("://")
    host = request.headers.get(hdrs.HOST, "").lower()  # request.host would look up a name where HTTP/1.0 has none
    return scheme in ("http", "https") and authority == host != ""


def may_connect(request: web.Request, public_url: str, allowed: Collection[str]) -> bool:
    """Whether a page of this `Origin` may open a WebSocket; none at all is no browser, and passes."""
    return all(
        origin != "null" and (is_own(origin, request, public_url) or origin.lower() in allowed)
        for origin in _origins(request)
    )


def _origins(request: web.Request) -> Collection[str]:
    # A browser sends one; of two, a proxy in front may have judged the other.
    return request.headers.getall(hdrs.ORIGIN, ())
