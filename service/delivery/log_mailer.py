"""A mailer that writes mails to the log, for development without a mail server."""

from __future__ import annotations

import logging
from datetime import timedelta

from service.domain.mail.templates import RenderedEmail

log = logging.getLogger("roster.mail")


class LogMailer:
    """Implements `Mailer`: logs each mail once, token included. Every reader of the log can use the token."""

    longest = timedelta(seconds=1)

    async def send(self, letter: RenderedEmail) -> None:
        log.warning(
            "ROSTER_SMTP_URL is empty; the mail is written to the log only",
            extra={"to": letter.to, "subject": letter.subject, "block": letter.text},
        )
