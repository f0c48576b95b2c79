"""Whom to tell of a hole (RFC 9116)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.views.security_txt import PATH, security_txt
from tests.support.server import Server, serve

CONTACT = "mailto:security@example.com"


async def test_contact_has_an_expiry(server: Server) -> None:
    """`Contact` and one `Expires`, less than a year ahead, as plain text in UTF-8; `Canonical` where the address is known."""
    async with (
        serve(security_contact=CONTACT, public_url="https://roster.example.com") as named,
        named.request("GET", PATH) as answer,
    ):
        text = await answer.text()
    fields = dict(line.split(": ", 1) for line in text.splitlines())

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert list(fields) == ["Contact", "Expires", "Preferred-Languages", "Canonical"]
    assert fields["Contact"] == CONTACT
    assert fields["Canonical"] == f"https://roster.example.com{PATH}"
    ahead = datetime.fromisoformat(fields["Expires"]) - datetime.now(UTC)
    assert timedelta(days=30) < ahead < timedelta(days=365)


async def test_missing_contact_is_not_found(server: Server) -> None:
    """Without the setting there is no such file."""
    problem = await server.json("GET", PATH, status=404)

    assert problem["type"] == "/problems/not-found"


@pytest.mark.parametrize("public_url", ["", "http://roster.example.com"])
def test_address_without_tls_is_not_named(public_url: str) -> None:
    """Where the service is not known to be read over https, nothing is canonical (RFC 9116, 2.5.2)."""
    assert "Canonical" not in security_txt(CONTACT, public_url, datetime(2026, 11, 21, tzinfo=UTC))


def test_file_is_the_same_all_day() -> None:
    """Two who read it on one day read the same, and the next day its end has moved on."""
    texts = [
        security_txt(CONTACT, "", datetime(2026, 12, day, hour, 59, 59, 999_999, tzinfo=UTC))
        for day, hour in ((30, 0), (30, 23), (31, 0))
    ]

    assert texts[0] == texts[1]
    assert "Expires: 2027-06-28T00:00:00Z\n" in texts[1]
    assert "Expires: 2027-06-29T00:00:00Z\n" in texts[2]
