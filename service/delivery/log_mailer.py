"""Letters into the log, for those who try the service out and have no mail server."""

from __future__ import annotations

import logging
from datetime import timedelta

from service.domain.mail.templates import RenderedEmail

log = logging.getLogger("roster.mail")


class LogMailer:
    """Keeps `Mailer` by showing each letter once, with the token in it: whoever reads the log may use it."""

    longest = timedelta(seconds=1)

    async def send(self, letter: RenderedEmail) -> None:
        log.warning(
            "no mail server is set (ROSTER_SMTP_URL): a mail stays here",
            extra={"to": letter.to, "subject": letter.subject, "block": letter.text},
        )
