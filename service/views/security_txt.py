"""The contact for reports of vulnerabilities (RFC 9116)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aiohttp import hdrs, web

from service.domain.errors import NotFound
from service.http import problems
from service.http.operations import (
    Access,
    Operation,
    Reply,
    operation,
)
from service.http.view import View

PATH: Final = "/.well-known/security.txt"

_LIFE: Final = timedelta(days=180)  # RFC 9116, 2.5.5: less than a year ahead


class SecurityTxtView(View):
    @operation(
        Operation(
            id="get_security_txt",
            summary="Whom to tell of a hole in this service",
            description="RFC 9116. 404 if `ROSTER_SECURITY_CONTACT` is empty.",
            tag="operations",
            access=Access.PUBLIC,
            replies={
                200: Reply(
                    "Whom to tell, and until when this is so.",
                    media_type="text/plain",
                    example="Contact: mailto:security@example.com\nExpires: 2027-05-20T00:00:00Z\nPreferred-Languages: en\n",
                )
            },
            refusals=(problems.NOT_FOUND,),
        )
    )
    async def get(self) -> web.Response:
        settings = self.services.settings
        if not settings.security_contact:
            raise NotFound()
        return web.Response(
            text=security_txt(settings.security_contact, settings.public_url, self.services.clock()),
            headers={hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", hdrs.CACHE_CONTROL: "max-age=86400"},
        )


def security_txt(contact: str, public_url: str, now: datetime) -> str:
    """The text of the file. It changes once a day, so that copies can be compared.

    Args:
        contact: a URI.
        public_url: origin under which the file is read; empty where it is not known.
        now: a moment in UTC.
    """
    expires = now.replace(hour=0, minute=0, second=0, microsecond=0) + _LIFE
    lines = [f"Contact: {contact}", f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}", "Preferred-Languages: en"]
    if public_url.startswith("https:"):  # RFC 9116, 2.5.2: a web address in here is one of https
        lines.append(f"Canonical: {public_url}{PATH}")
    return "".join(f"{line}\n" for line in lines)
