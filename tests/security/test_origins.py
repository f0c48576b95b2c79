"""Whose pages may open a stream."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.security.origins import is_own, is_same_origin, may_connect

PUBLIC = "https://roster.example.com"
APP = "https://app.example.com"


def a_request(*origins: str, host: str = "127.0.0.1:8080", **headers: str) -> web.Request:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request(
        "GET", "/v1/ws", CIMultiDict([("Host", host), *(("Origin", origin) for origin in origins), *more.items()])
    )


@pytest.mark.parametrize(
    ("origin", "public_url", "own"),
    [
        ("http://127.0.0.1:8080", "", True),
        ("https://127.0.0.1:8080", "", True),
        ("HTTP://127.0.0.1:8080", "", True),
        ("http://127.0.0.1", "", False),
        ("http://127.0.0.1:8081", "", False),
        ("http://127.0.0.1:8080/", "", False),
        ("http://a@127.0.0.1:8080", "", False),
        ("//127.0.0.1:8080", "", False),
        ("127.0.0.1:8080", "", False),
        ("file://127.0.0.1:8080", "", False),
        ("null", "", False),
        ("", "", False),
        (PUBLIC, PUBLIC, True),
        (PUBLIC.upper(), PUBLIC, True),
        ("http://roster.example.com", PUBLIC, False),
        ("http://127.0.0.1:8080", PUBLIC, False),
    ],
)
def test_own_origin(origin: str, public_url: str, own: bool) -> None:
    """Ours is the origin of `PUBLIC_URL`, and without one the host that the request names, by HTTP or HTTPS."""
    assert is_own(origin, a_request(origin), public_url) is own


def test_no_host_makes_no_origin_ours() -> None:
    """A request that names no host, as HTTP/1.0 may, has no own pages."""
    request = make_mocked_request("GET", "/v1/feed", CIMultiDict({"Origin": "http://"}))

    assert not is_own("http://", request, "")
    assert not is_own("null", request, "")


@pytest.mark.parametrize(
    ("origins", "passes"),
    [
        ((), True),
        (("http://127.0.0.1:8080",), True),
        ((APP,), True),
        ((APP.upper(),), True),
        (("null",), False),
        (("http://app.example.com",), False),
        (("https://app.example.com.evil.com",), False),
        ((APP, APP), True),
        ((APP, "https://evil.com"), False),
        (("https://evil.com", APP), False),
    ],
)
def test_may_connect(origins: tuple[str, ...], passes: bool) -> None:
    """Our own and allowed origins may connect, and who names none; of several every one must be allowed."""
    assert may_connect(a_request(*origins), "", (APP,)) is passes


def test_null_may_not_be_allowed() -> None:
    """`null` is any page: it is refused even if a setting names it."""
    assert not may_connect(a_request("null"), "", ("null",))


@pytest.mark.parametrize(
    ("site", "origins", "same"),
    [
        (None, (), True),
        ("same-origin", (), True),
        ("none", (), True),
        ("same-site", (), False),
        ("cross-site", (), False),
        ("Same-Origin", (), False),
        (None, ("http://127.0.0.1:8080",), True),
        ("same-origin", ("http://127.0.0.1:8080",), True),
        ("same-origin", (APP,), False),
        ("cross-site", ("http://127.0.0.1:8080",), False),
        (None, ("null",), False),
    ],
)
def test_same_origin(site: str | None, origins: tuple[str, ...], same: bool) -> None:
    """A page is ours if neither `Sec-Fetch-Site` nor `Origin` says otherwise."""
    headers = {} if site is None else {"Sec_Fetch_Site": site}

    assert is_same_origin(a_request(*origins, **headers), "") is same


def test_websocket_without_an_origin_is_of_no_page() -> None:
    """Browsers name the page of every WebSocket: where none is named, a cookie is not a browser's."""
    assert not is_same_origin(a_request(Upgrade="websocket"), "")
    assert is_same_origin(a_request("http://127.0.0.1:8080", Upgrade="websocket"), "")


@given(st.text(max_size=60))
def test_any_text_is_judged(origin: str) -> None:
    """No text in the header is an error, and none but our own and the allowed ones passes."""
    header = origin.replace("\r", "").replace("\n", "").replace("\0", "")
    good = {APP, "http://127.0.0.1:8080", "https://127.0.0.1:8080"}

    assert may_connect(a_request(header), "", (APP,)) is (header.lower() in good)
